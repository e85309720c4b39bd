"""Passes of a network over many pictures: while it computes, threads decode and prepare the batches that come next.

What comes out depends neither on the number of threads nor on how far they are ahead: batches hold the same pictures, in the same
order, as if they were made one after the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, TypeVar

from stages.models.device import computing_in
from stages.sources.images import WORKERS

if TYPE_CHECKING:
    from torch import Tensor

    from stages.models.encoders import Encoder, Features, Maps
    from stages.sources.images import ImageSource

# Batches that are made ready before the network asks for them: one would do if all took the same time.
AHEAD = 2

Batch = TypeVar("Batch")
Part = TypeVar("Part")
Ready = TypeVar("Ready")
Result = TypeVar("Result")


def activations(
    source: ImageSource, replicas: Sequence[Encoder], batches: Iterable[range], precision: str = "float32"
) -> Iterator[tuple[range, Features, Maps | None]]:
    """Run an encoder over images, once for features and maps of all its layers.

    Parameters
    ----------
    source
        Where the images are.
    replicas
        The encoder, once for each device; they take the batches in turn.
    batches
        Rows of the images of each batch.
    precision : {"float32", "bfloat16", "float16"}
        What the network computes in; the results are float32.

    Yields
    ------
    rows, features, maps
        Of each batch in its order; maps are None where heatmaps cannot be made of them.

    Raises
    ------
    UserError
        If an image has gone or changed, when its batch is asked for.
    """
    networks = [_reading(replica, precision) for replica in replicas]
    with closing(prepared(source, replicas[0], batches, AHEAD * len(replicas))) as ready:
        for rows, (features, maps) in in_turn(ready, networks):
            yield rows, features, maps


def prepared(
    source: ImageSource, encoder: Encoder, batches: Iterable[range], ahead: int = AHEAD, workers: int = WORKERS
) -> Generator[tuple[range, Tensor], None, None]:
    """Decode and prepare images for an encoder, in threads; see `activations` and `made_ready`."""

    def images(rows: range) -> list[Callable[[], tuple[int, Tensor]]]:
        return [partial(_prepared, source, encoder, row) for row in source.by_place(rows)]

    return made_ready(batches, images, partial(in_one, device=encoder.device), ahead, workers)


def _prepared(source: ImageSource, encoder: Encoder, row: int) -> tuple[int, Tensor]:
    return row, encoder.prepare([source.load(row)])


def _reading(encoder: Encoder, precision: str) -> Callable[[Tensor], tuple[Features, Maps | None]]:
    """What a replica does with a batch; the precision is one of the thread that computes."""

    def read(batch: Tensor) -> tuple[Features, Maps | None]:
        with computing_in(precision, encoder.device):
            return encoder.forward(batch)

    return read


def in_one(parts: Iterable[tuple[int, Tensor]], device: str = "cpu") -> Tensor:
    """Put what was prepared of the images of a batch together, in the order of their rows.

    For a GPU it lies where the GPU can fetch it while other work goes on (pinned memory).
    """
    import torch

    batch = torch.cat([prepared for _, prepared in sorted(parts, key=lambda part: part[0])])
    return batch.pin_memory() if torch.device(device).type == "cuda" else batch


def made_ready(
    batches: Iterable[Batch],
    jobs: Callable[[Batch], Iterable[Callable[[], Part]]],
    join: Callable[[list[Part]], Ready],
    ahead: int = AHEAD,
    workers: int = WORKERS,
) -> Generator[tuple[Batch, Ready], None, None]:
    """Make batches ready in threads, in order, some before they are asked for.

    Parameters
    ----------
    batches
        What is known of each batch beforehand.
    jobs
        The parts of a batch, each to be done by any thread: all threads work on one batch, so no more pictures are decoded at
        once than there are threads.
    join
        Makes the batch of what the jobs gave, in their order.
    ahead
        Batches that are kept besides the one that was asked for.
    workers
        Threads.

    Yields
    ------
    batch, ready
        An error of a job is raised in its place. When the iterator is closed, what has not begun is given up.
    """
    # The parts end first: whatever joins them then ends, too.
    with _threads(1) as joining, _threads(workers) as working:
        started = (
            (batch, joining.submit(_joined, [working.submit(job) for job in jobs(batch)], join)) for batch in batches
        )
        yield from _in_order(started, ahead)


def _joined(parts: list[Future[Part]], join: Callable[[list[Part]], Ready]) -> Ready:
    return join([part.result() for part in parts])


def in_turn(
    batches: Iterable[tuple[Batch, Ready]], networks: Sequence[Callable[[Ready], Result]]
) -> Iterator[tuple[Batch, Result]]:
    """Give batches to networks in turn, to each in a thread of its own; the results come in the order of the batches."""
    if len(networks) == 1:
        yield from ((batch, networks[0](ready)) for batch, ready in batches)
        return
    with ExitStack() as stack:
        places = cycle([(stack.enter_context(_threads(1)), network) for network in networks])
        started = (
            (batch, thread.submit(network, ready))
            for (batch, ready), (thread, network) in zip(batches, places, strict=False)
        )
        yield from _in_order(started, len(networks))


def _in_order(started: Iterable[tuple[Batch, Future[Result]]], ahead: int) -> Iterator[tuple[Batch, Result]]:
    """Results in the order in which they were started, `ahead` more being started than are asked for."""
    waiting: deque[tuple[Batch, Future[Result]]] = deque()
    for pair in started:
        waiting.append(pair)
        if len(waiting) > ahead:
            yield _first(waiting)
    while waiting:
        yield _first(waiting)


def _first(waiting: deque[tuple[Batch, Future[Result]]]) -> tuple[Batch, Result]:
    batch, result = waiting.popleft()
    return batch, result.result()


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that end with the block, which waits for no more than what they have begun."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
