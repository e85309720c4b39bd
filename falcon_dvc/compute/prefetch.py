"""Prepare batches in threads while a network computes; the results do not depend on the number of threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import cycle
from typing import TYPE_CHECKING, TypeVar

from falcon_dvc.threads import WORKERS

if TYPE_CHECKING:
    from torch import Tensor


# Batches that are made ready before the network asks for them: one would do if all took the same time.
AHEAD = 2

Batch = TypeVar("Batch")
Part = TypeVar("Part")
Ready = TypeVar("Ready")
Result = TypeVar("Result")


def collated(parts: Iterable[tuple[int, Tensor]], device: str = "cpu") -> Tensor:
    """Put what was prepared of the images of a batch together, in the order of their rows.

    For a GPU it lies where the GPU can fetch it while other work goes on (pinned memory).
    """
    import torch

    batch = torch.cat([prepared for _, prepared in sorted(parts, key=lambda part: part[0])])
    return batch.pin_memory() if torch.device(device).type == "cuda" else batch


def prefetched(
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


def round_robin(
    batches: Iterable[tuple[Batch, Ready]], networks: Sequence[Callable[[Ready], Result]]
) -> Iterator[tuple[Batch, Result]]:
    """Yield batches to networks in turn, to each in a thread of its own; the results come in the order of the batches."""
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
