"""Activation maps of features that are 0 almost everywhere, as compressed sparse rows (CSR), and the heatmaps from them.

A row is an image. Its columns are feature after feature, and for each feature its cells in reading order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

Grid = tuple[int, int]


@dataclass(frozen=True)
class SparseMaps:
    """Hold the maps of some images.

    Attributes
    ----------
    values : sparse (images, features * cells)
        With sorted columns.
    features : int
        Number of features.
    grid : (rows, columns)
        Cells of a map.
    """

    values: sparse.csr_array
    features: int
    grid: Grid

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Images, features, rows and columns, as of dense maps."""
        return self.values.shape[0], self.features, *self.grid

    @property
    def cells(self) -> int:
        """Number of cells of a map."""
        return self.grid[0] * self.grid[1]

    def dense(self) -> Float[np.ndarray, "images features rows columns"]:
        """Return the maps as one array."""
        return self.values.toarray().reshape(self.shape)


def sparse_rows(
    row: Int[np.ndarray, " values"],
    column: Int[np.ndarray, " values"],
    values: Float[np.ndarray, " values"],
    shape: tuple[int, int],
) -> sparse.csr_array:
    """Build compressed sparse rows with sorted columns from values in any order, no two of which share a place."""
    order = np.argsort(row.astype(np.int64) * shape[1] + column, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=shape[0]))])
    return sparse.csr_array((values[order], column[order], starts), shape=shape)


def pooled_features(maps: SparseMaps, pooling: str) -> sparse.csr_array:
    """Compute the mean or the maximum of each map: sparse float32 (images, features).

    Parameters
    ----------
    maps : float32 values, none of which is 0.
    pooling : ``mean`` or ``max``, over all cells of a map, also those that are 0.
    """
    image, column = np.repeat(np.arange(maps.shape[0]), np.diff(maps.values.indptr)), maps.values.indices
    place = image * maps.features + column // maps.cells
    first = np.flatnonzero(np.diff(place, prepend=-1))
    if pooling == "mean":
        pooled = np.add.reduceat(maps.values.data.astype(np.float64), first) / maps.cells if len(first) else np.zeros(0)
    else:
        pooled = np.maximum.reduceat(maps.values.data, first) if len(first) else np.zeros(0)
        everywhere = np.diff(first, append=len(place)) == maps.cells
        pooled = np.where(everywhere, pooled, np.maximum(pooled, 0))
    image, feature = np.divmod(place[first], maps.features)
    rows = sparse_rows(image, feature, pooled.astype(np.float32), (maps.shape[0], maps.features))
    rows.eliminate_zeros()
    return rows


def add_members(
    total: Float[np.ndarray, "crops cells"],
    maps: SparseMaps,
    crop: Int[np.ndarray, " pairs"],
    image: Int[np.ndarray, " pairs"],
    feature: Int[np.ndarray, " pairs"],
) -> None:
    """Add to each crop the map of a feature in an image, for pairs of both; in the order of the pairs."""
    width, starts = maps.values.shape[1], maps.values.indptr
    places = np.repeat(np.arange(maps.shape[0]), np.diff(starts)) * width + maps.values.indices
    wanted = image.astype(np.int64) * width + feature * maps.cells
    first, last = np.searchsorted(places, wanted), np.searchsorted(places, wanted + maps.cells)
    count = last - first
    value = np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())
    cell = maps.values.indices[value] % maps.cells
    np.add.at(total, (np.repeat(crop, count), cell), maps.values.data[value].astype(np.float32))


def summed_maps(
    maps: SparseMaps, image: Int[np.ndarray, " crops"], directions: Float[np.ndarray, "crops features"]
) -> Float[np.ndarray, "crops cells"]:
    """Compute the sum of the maps of an image, weighted by a direction in the space of the features, for each crop."""
    chosen = maps.values[image]
    crop = np.repeat(np.arange(len(image)), np.diff(chosen.indptr))
    feature, cell = np.divmod(chosen.indices, maps.cells)
    weighted = chosen.data.astype(np.float32) * directions[crop, feature].astype(np.float32)
    total = np.zeros((len(image), maps.cells), dtype=np.float32)
    np.add.at(total, (crop, cell), weighted)
    return total
