"""Compressed sparse rows (CSR) on the disk, in tiles of consecutive rows, so that a reader holds one tile at a time.

A folder has ``layout.json`` and a safetensors file for each tile, with the tensors of a `scipy.sparse.csr_array`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save
from scipy import sparse

from falcon_dvc.artifacts.formats import MADE_AGAIN, read_json, write_bytes, write_json
from falcon_dvc.errors import UserError, one_line

LAYOUT = "layout.json"
CELLS_OF_A_TILE, ROWS_OF_A_TILE = 2**28, 1024  # of a dense array, at most; a tile of one value in eight then has 200 MB
PARTS = ("starts", "columns", "values")  # of a tile: as `indptr`, `indices` and `data` of scipy


@dataclass(frozen=True)
class Layout:
    """Describe a sparse array on the disk.

    Attributes
    ----------
    shape : of the dense array; the first number is that of the rows, and a row is stored as one vector.
    dtype : of the values in the files. Readers get float32.
    rows_of_a_tile : rows of each tile but the last.
    """

    shape: tuple[int, ...]
    dtype: str
    rows_of_a_tile: int

    @property
    def width(self) -> int:
        """Number of columns of a row."""
        return prod(self.shape[1:])

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return -(-self.shape[0] // self.rows_of_a_tile)

    def rows(self, tile: int) -> range:
        """Return the rows of a tile."""
        return range(tile * self.rows_of_a_tile, min((tile + 1) * self.rows_of_a_tile, self.shape[0]))


def layout_of(shape: tuple[int, ...], dtype: type) -> Layout:
    """Choose the rows of a tile, so that it fits into memory."""
    rows = max(min(CELLS_OF_A_TILE // max(prod(shape[1:]), 1), ROWS_OF_A_TILE), 1)
    return Layout(shape, np.dtype(dtype).name, rows)


class TileWriter:
    """Write rows in their order, some at a time. The files do not depend on how many.

    Parameters
    ----------
    folder
        Where the tiles are.
    layout
        Of the whole array.
    finished
        Rows that an earlier process wrote; later ones are overwritten.
    """

    def __init__(self, folder: Path, layout: Layout, finished: int = 0) -> None:
        self._folder, self._layout = folder, layout
        self._tile, rest = divmod(finished, layout.rows_of_a_tile)
        self._waiting = [read_tile(folder, layout, self._tile, rest)[:rest]] if rest else []
        write_json(folder / LAYOUT, asdict(layout))

    def append(self, rows: sparse.csr_array) -> None:
        """Add rows with sorted columns, and write the tiles that are complete."""
        self._waiting.append(rows)
        size = self._layout.rows_of_a_tile
        while sum(part.shape[0] for part in self._waiting) >= size:
            joined = _joined(self._waiting)
            self._write(joined[:size])
            self._tile, self._waiting = self._tile + 1, [joined[size:]]

    def flush(self) -> None:
        """Write the rows of the tile that is not complete."""
        if sum(part.shape[0] for part in self._waiting):
            self._write(_joined(self._waiting))

    def _write(self, rows: sparse.csr_array) -> None:
        columns = np.uint32 if self._layout.width < 2**32 else np.int64
        arrays = (rows.indptr.astype(np.int64), rows.indices.astype(columns), rows.data.astype(self._layout.dtype))
        tensors = {name: np.ascontiguousarray(array) for name, array in zip(PARTS, arrays, strict=True)}
        write_bytes(_file(self._folder, self._tile), save(tensors))


def _joined(parts: list[sparse.csr_array]) -> sparse.csr_array:
    return parts[0] if len(parts) == 1 else sparse.csr_array(sparse.vstack(parts, format="csr"))


def _file(folder: Path, tile: int) -> Path:
    return folder / f"{tile:05d}.safetensors"


class Tiles:
    """Read the tiles of a sparse array.

    Parameters
    ----------
    folder
        A folder that `TileWriter` wrote.

    Raises
    ------
    UserError
        If its layout is missing or malformed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.layout = folder, _read_layout(folder / LAYOUT)
        self._last: tuple[int, sparse.csr_array] | None = (
            None  # callers take the rows of one tile after those of another
        )

    def read(self, tile: int) -> sparse.csr_array:
        """Return the rows of a tile.

        Raises
        ------
        UserError
            If the file is missing, cut or malformed.
        """
        if self._last is None or self._last[0] != tile:
            self._last = tile, read_tile(self.folder, self.layout, tile, len(self.layout.rows(tile)))
        return self._last[1]

    def of_rows(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, sparse.csr_array, np.ndarray]]:
        """Yield for each tile with some of the rows: their places in `rows`, the tile, and their rows in the tile."""
        order = np.argsort(rows, kind="stable")
        tile, first = np.unique(rows[order] // self.layout.rows_of_a_tile, return_index=True)
        for number, places in zip(tile.tolist(), np.split(order, first)[1:], strict=True):
            yield places, self.read(number), rows[places] - self.layout.rows(number).start


def _read_layout(path: Path) -> Layout:
    content = read_json(path)
    try:
        layout = Layout(tuple(content["shape"]), np.dtype(content["dtype"]).name, content["rows_of_a_tile"])
        numbers = [*layout.shape, layout.rows_of_a_tile]
        valid = len(layout.shape) > 1 and all(type(number) is int and number >= 0 for number in numbers)
        if not valid or layout.rows_of_a_tile < 1 or np.dtype(layout.dtype).kind != "f":
            raise ValueError("shape, dtype or rows_of_a_tile are wrong")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: no layout of a sparse array ({one_line(error)}); {MADE_AGAIN}") from error
    return layout


def read_tile(folder: Path, layout: Layout, tile: int, least: int) -> sparse.csr_array:
    """Read one tile, which must have at least so many rows.

    Raises
    ------
    UserError
        If the file is missing, cut or malformed.
    """
    path = _file(folder, tile)
    try:
        tensors = load(path.read_bytes())
        return _checked(layout, least, **{name: tensors[name] for name in PARTS})
    except (OSError, SafetensorError, KeyError, ValueError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: no rows of a sparse array ({one_line(error)}); {MADE_AGAIN}") from error


def _checked(
    layout: Layout, least: int, starts: np.ndarray, columns: np.ndarray, values: np.ndarray
) -> sparse.csr_array:
    """Return the rows; every index is checked before it is used.

    Raises
    ------
    ValueError
        If they do not fit each other or the layout.
    """
    if any(array.ndim != 1 for array in (starts, columns, values)) or values.dtype != layout.dtype:
        raise ValueError(f"{values.dtype} of shape {values.shape}, not a vector of {layout.dtype}")
    if starts.dtype.kind not in "iu" or columns.dtype.kind not in "iu" or len(starts) <= least:
        raise ValueError(f"{len(starts) - 1} rows, not {least}")
    ends = len(starts) and (starts[0], starts[-1]) == (0, len(values))
    if not ends or len(columns) != len(values) or (np.diff(starts.astype(np.int64)) < 0).any():
        raise ValueError("starts, columns and values do not fit each other")
    inside = np.ones(len(columns), dtype=bool)
    inside[starts[(starts > 0) & (starts < len(columns))]] = False
    if len(columns) and not 0 <= columns.min() <= columns.max() < layout.width:
        raise ValueError(f"columns {columns.min()} to {columns.max()} of {layout.width}")
    if (np.diff(columns.astype(np.int64))[inside[1:]] <= 0).any():
        raise ValueError("columns are not in order")
    index = np.int32 if max(layout.width, len(values)) < 2**31 else np.int64
    shape = (len(starts) - 1, layout.width)
    # Sparse arrays of scipy have no half precision.
    return sparse.csr_array((values.astype(np.float32), columns.astype(index), starts.astype(index)), shape=shape)
