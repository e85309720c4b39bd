"""A matrix of which callers take rows or columns: the interface of dense and sparse ones, and the dense one."""

from __future__ import annotations

from typing import Protocol

import numpy as np

Index = np.ndarray | slice


class Rows(Protocol):
    """A matrix on the disk: float (rows, columns), of which callers take a part.

    Attributes
    ----------
    shape : (rows, columns)
    sparse : whether it is stored as the values that are not 0.
    """

    shape: tuple[int, int]
    sparse: bool

    def rows(self, rows: Index) -> np.ndarray:
        """Return some rows: (chosen, columns)."""
        ...

    def columns(self, columns: Index, rows: Index = slice(None)) -> np.ndarray:
        """Return some columns, of all or of some rows: (rows, chosen)."""
        ...


class DenseRows:
    """A ``.npy`` file, memory-mapped."""

    sparse = False

    def __init__(self, array: np.ndarray) -> None:
        self._array, self.shape = array, (array.shape[0], array.shape[1])

    def rows(self, rows: Index) -> np.ndarray:
        """Return some rows."""
        return self._array[rows]

    def columns(self, columns: Index, rows: Index = slice(None)) -> np.ndarray:
        """Return some columns."""
        if isinstance(rows, slice):
            return self._array[rows][:, columns]
        return self._array[np.ix_(rows, numbers_of(columns, self.shape[1]))]


def numbers_of(index: Index, count: int) -> np.ndarray:
    """Return the numbers that an index selects."""
    return np.arange(count)[index]
