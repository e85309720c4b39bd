"""Keep freed memory for the next batch, where the C library would return it to the system."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # numbers of mallopt's parameters (malloc.h of glibc)
LARGEST = 256 << 20  # bytes of an array that comes from memory that was freed before
KEPT = 512 << 20  # bytes of free memory at the end of the heap that stay with the process


@cache
def keep_freed_memory() -> None:
    """Set the thresholds of glibc's allocator for networks on the CPU; other C libraries stay as they are.

    A layer allocates and frees tens of megabytes for each batch. By default, glibc returns arrays of more than 32 MB to the
    system, which clears them when they are allocated again. That took more than half of the time of EfficientNet-Lite2.
    """
    with _library() as library:
        library.mallopt(MMAP_THRESHOLD, LARGEST)
        library.mallopt(TRIM_THRESHOLD, KEPT)


@contextmanager
def returned_memory() -> Iterator[None]:
    """Return the memory that is free at the end of a pass over images to the system.

    Each thread of a pass has a pool of memory of its own, and later threads may use others.
    """
    try:
        yield
    finally:
        with _library() as library:
            library.malloc_trim(0)


@contextmanager
def _library() -> Iterator[Any]:
    """Open the C library; the block is left if it cannot be opened, or is another one than glibc."""
    with suppress(AttributeError, OSError):
        yield ctypes.CDLL(None)
