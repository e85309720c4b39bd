"""Prepare batches in threads, ahead of a network on a GPU. The results do not depend on the number of threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import cycle
from typing import TYPE_CHECKING, TypeVar

from falcon_dvc.allocator import returned_memory
from falcon_dvc.threads import WORKERS

if TYPE_CHECKING:
    from torch import Tensor


# Batches that are prepared while a GPU computes. One would be enough if all batches took the same time.
AHEAD = 2

Batch = TypeVar("Batch")
Piece = TypeVar("Piece")
Ready = TypeVar("Ready")
Result = TypeVar("Result")


def collated(pieces: Iterable[tuple[int, Tensor]], device: str = "cpu") -> Tensor:
    """Concatenate the prepared images of a batch in the order of their rows.

    For a GPU the batch is in pinned memory, which allows asynchronous transfer.

    Parameters
    ----------
    pieces
        Row number and tensor (1, ...) of each image, in any order.
    device
        Device of the network.
    """
    import torch

    batch = torch.cat([prepared for _, prepared in sorted(pieces, key=lambda piece: piece[0])])
    return batch.pin_memory() if torch.device(device).type == "cuda" else batch


def ahead_of(device: str) -> int:
    """Return how many batches to prepare ahead of a network on a device: none if it is the CPU, whose cores the network needs."""
    return 0 if device == "cpu" else AHEAD


def prefetched(
    batches: Iterable[Batch],
    jobs: Callable[[Batch], Iterable[Callable[[], Piece]]],
    join: Callable[[list[Piece]], Ready],
    ahead: int = AHEAD,
    workers: int = WORKERS,
) -> Generator[tuple[Batch, Ready], None, None]:
    """Prepare batches in threads, in order and ahead of their use.

    Parameters
    ----------
    batches
        Description of each batch, for instance its rows.
    jobs
        From a batch to the jobs that prepare its pieces. All threads work on the same batch, so that at most `workers`
        pictures are decoded at the same time.
    join
        From the results of the jobs, in their order, to the prepared batch.
    ahead
        Number of prepared batches beyond the requested one, see `ahead_of`.
    workers
        Number of threads.

    Yields
    ------
    batch, ready
        Each batch and its prepared form. An error of a job is raised at its batch. Closing the iterator cancels jobs
        that have not started.
    """
    # The workers are shut down first, so that the thread that joins their results can end too.
    with returned_memory(), _threads(1) as joining, _threads(workers, _compute_alone) as working:
        pieces = ((batch, [working.submit(job) for job in jobs(batch)]) for batch in batches)
        if not ahead:
            yield from ((batch, _joined(some, join)) for batch, some in pieces)
            return
        yield from _in_order(((batch, joining.submit(_joined, some, join)) for batch, some in pieces), ahead)


def _compute_alone() -> None:
    """Let torch and others compute by one thread in this thread.

    Otherwise OpenMP starts further threads for it. Where they are more than the cores, the threads of a network wait for each other
    asleep, and EfficientNet-Lite2 takes a third more time.
    """
    import torch
    from threadpoolctl import threadpool_limits

    torch.get_num_threads()  # sets the number of this thread, which is set again
    threadpool_limits(1, user_api="openmp")


def _joined(pieces: list[Future[Piece]], join: Callable[[list[Piece]], Ready]) -> Ready:
    return join([piece.result() for piece in pieces])


def round_robin(
    batches: Iterable[tuple[Batch, Ready]], networks: Sequence[Callable[[Ready], Result]]
) -> Iterator[tuple[Batch, Result]]:
    """Distribute batches over networks in round-robin order and yield the results in the order of the batches.

    Each network computes in a thread of its own. With a single network, no thread is used.
    """
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
    """Yield results in the order in which they were started, with `ahead` more started than requested."""
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
def _threads(count: int, start: Callable[[], None] | None = None) -> Iterator[ThreadPoolExecutor]:
    """Open a pool of threads, each of which calls `start`. At the end of the block, jobs that have not started are cancelled."""
    pool = ThreadPoolExecutor(count, initializer=start)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
