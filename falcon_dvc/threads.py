"""Process blocks of rows in threads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

# Threads: one for each core that this process may use. Results do not depend on their number.
WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
Result = TypeVar("Result")


def in_blocks(work: Callable[[slice], Result], rows: int, at_once: int) -> list[Result]:
    """Apply `work` to blocks of at most `at_once` rows in threads; return the results in the order of the rows.

    Each thread takes the next block until none is left. An exception is raised after all threads have ended.

    Parameters
    ----------
    work : callable
        From the slice of a block to its result.
    rows : int
        Number of rows.
    at_once : int
        Rows of a block.
    """
    blocks = [slice(start, start + at_once) for start in range(0, rows, at_once)]
    results: dict[int, Result] = {}
    remaining = iter(range(len(blocks)))

    def process_blocks(_: int) -> None:
        for place in remaining:
            results[place] = work(blocks[place])

    # Submitting each block to the pool would take about as long as computing a block that fits in a processor's cache.
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(process_blocks, range(WORKERS)))
    return [results[place] for place in range(len(blocks))]
