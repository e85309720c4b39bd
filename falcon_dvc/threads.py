"""Blocks of rows that threads share."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

# Threads: one for each core that this process may use. What comes out does not depend on them.
WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
Found = TypeVar("Found")


def in_blocks(work: Callable[[slice], Found], rows: int, at_once: int) -> list[Found]:
    """What `work` finds in each block of at most `at_once` of the rows, in their order.

    Threads take blocks in turn until none is left; what fails in one is raised when all have ended.
    """
    blocks = [slice(start, start + at_once) for start in range(0, rows, at_once)]
    found: dict[int, Found] = {}
    left = iter(range(len(blocks)))

    def take_turns(_: int) -> None:
        for place in left:
            found[place] = work(blocks[place])

    # Handed over by the pool one at a time, blocks that fit in a processor's cache wait about as long as they take.
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(take_turns, range(WORKERS)))
    return [found[place] for place in range(len(blocks))]
