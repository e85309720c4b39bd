"""Open the features and the maps of an encoder. Dense and sparse files look alike to callers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import sparse

from falcon_dvc.activations.rows import DenseRows, Index, Rows, numbers_of
from falcon_dvc.activations.sparse_maps import SparseMaps, add_members, summed_maps
from falcon_dvc.activations.tiles import Tiles
from falcon_dvc.artifacts.formats import MADE_AGAIN, read_array
from falcon_dvc.errors import UserError


class SparseRows:
    """A folder of tiles, one of which is in memory."""

    sparse = True

    def __init__(self, tiles: Tiles) -> None:
        self._tiles, self.shape = tiles, (tiles.layout.shape[0], tiles.layout.width)

    def rows(self, rows: Index) -> np.ndarray:
        """Return some rows."""
        return self.columns(slice(None), rows)

    def columns(self, columns: Index, rows: Index = slice(None)) -> np.ndarray:
        """Return some columns."""
        numbers, chosen = numbers_of(rows, self.shape[0]), numbers_of(columns, self.shape[1])
        whole = isinstance(columns, slice) and columns == slice(None)
        found = np.empty((len(numbers), len(chosen)), dtype=np.float32)
        for places, tile, own in self._tiles.of_rows(numbers):
            found[places] = (tile[own] if whole else tile[own][:, chosen]).toarray()
        return found


class SparseMapsFile:
    """The maps of an encoder on the disk: a folder of tiles, one of which is in memory.

    Raises
    ------
    UserError
        If the folder holds no maps.
    """

    def __init__(self, folder: Path) -> None:
        self._tiles = Tiles(folder)
        if len(self._tiles.layout.shape) != 4:
            raise UserError(f"{folder}: an array of shape {self._tiles.layout.shape}, not maps; {MADE_AGAIN}")
        self.shape = self._tiles.layout.shape

    def group_heatmaps(self, images: np.ndarray, members: sparse.csr_array) -> np.ndarray:
        """Compute the heatmap of each crop's members, as `falcon_dvc.crops.heatmaps.group_heatmaps` does of dense maps."""
        crop, feature = members.nonzero()
        total = np.zeros((len(images), self._cells), dtype=np.float32)
        for places, tile, own in self._tiles.of_rows(images[crop]):
            add_members(total, self._maps(tile), crop[places], own, feature[places])
        return np.maximum(total, 0, out=total).reshape(len(images), *self.shape[2:])

    def heatmaps(self, images: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Compute the heatmap of each crop's direction, as `falcon_dvc.crops.heatmaps.heatmaps_of` does of dense maps."""
        total = np.zeros((len(images), self._cells), dtype=np.float32)
        for places, tile, own in self._tiles.of_rows(images):
            total[places] = summed_maps(self._maps(tile), own, directions[places])
        return np.maximum(total, 0, out=total).reshape(len(images), *self.shape[2:])

    @property
    def _cells(self) -> int:
        return self.shape[2] * self.shape[3]

    def _maps(self, tile: sparse.csr_array) -> SparseMaps:
        return SparseMaps(tile, self.shape[1], (self.shape[2], self.shape[3]))


def open_rows(path: Path, count: int | None = None, table: Path | None = None) -> Rows:
    """Open a matrix that is stored as the file ``NAME.npy`` or as the folder of tiles ``NAME``.

    Parameters
    ----------
    path : path of the folder.
    count : number of rows that the matrix must have; not checked if None.
    table : the table with so many rows, for the error message.

    Raises
    ------
    UserError
        If neither is there, or it is not such a matrix.
    """
    if not path.is_dir():
        file = path.with_name(f"{path.name}.npy")
        array = read_array(file)
        if array.ndim != 2 or array.dtype.kind not in "fiu":
            raise UserError(f"{file}: {array.dtype} of shape {array.shape}, not rows of numbers; {MADE_AGAIN}")
        return _with_rows(DenseRows(array), file, count, table)
    tiles = Tiles(path)
    if len(tiles.layout.shape) != 2:
        raise UserError(f"{path}: an array of shape {tiles.layout.shape}, not rows of numbers; {MADE_AGAIN}")
    return _with_rows(SparseRows(tiles), path, count, table)


def _with_rows(found: Rows, path: Path, count: int | None, table: Path | None) -> Rows:
    if count is not None and found.shape[0] != count:
        raise UserError(f"{path}: {found.shape[0]} rows, but {count} in {table}; {MADE_AGAIN}")
    return found
