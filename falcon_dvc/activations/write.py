"""Write the features and maps of an encoder as they are computed: dense arrays, or compressed sparse rows in tiles."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy import sparse

from falcon_dvc.activations.sparse_maps import SparseMaps
from falcon_dvc.activations.tiles import TileWriter, layout_of
from falcon_dvc.artifacts.formats import write_array

if TYPE_CHECKING:
    from falcon_dvc.compute.resume import Checkpoint

LARGEST_HALF = float(np.finfo(np.float16).max)  # larger values of maps would become infinite
Features: TypeAlias = np.ndarray | sparse.csr_array
Maps: TypeAlias = np.ndarray | SparseMaps


def write_batch(work: Checkpoint, images: int, rows: range, features: Features, maps: Maps | None) -> None:
    """Write the features and the maps of some images, which follow those that were written before.

    Parameters
    ----------
    work
        Holds ``features.npy`` and ``maps.npy``, or the folders ``features`` and ``maps``.
    images
        Number of all images.
    rows
        The images.
    features : (images, features)
        Dense or sparse.
    maps : (images, features, rows, columns), optional
        Dense or sparse. They are stored in half precision.
    """
    if isinstance(features, np.ndarray):
        work.array("features.npy", (images, *features.shape[1:]), np.float32)[rows.start : rows.stop] = features
    else:
        _tiles(work, "features", (images, features.shape[1]), np.float32, rows.start).append(features)
    if isinstance(maps, SparseMaps):
        values = maps.values.copy()
        values.data = np.clip(values.data, -LARGEST_HALF, LARGEST_HALF).astype(np.float16).astype(np.float32)
        values.eliminate_zeros()
        _tiles(work, "maps", (images, *maps.shape[1:]), np.float16, rows.start).append(values)
    elif maps is not None:
        work.array("maps.npy", (images, *maps.shape[1:]), np.float16)[rows.start : rows.stop] = maps


def _tiles(work: Checkpoint, name: str, shape: tuple[int, ...], dtype: type, finished: int) -> TileWriter:
    def opened(folder: Path) -> TileWriter:
        return TileWriter(folder, layout_of(shape, dtype), finished)

    return work.opened(name, opened)


def write_rows(path: Path, rows: Features) -> None:
    """Write a float32 matrix, in place of an earlier one: as the file ``NAME.npy``, or as the folder of tiles ``NAME`` if it is sparse."""
    file = path.with_name(f"{path.name}.npy")
    shutil.rmtree(path, ignore_errors=True)
    if isinstance(rows, np.ndarray):
        return write_array(file, rows)
    file.unlink(missing_ok=True)
    writer = TileWriter(path, layout_of(rows.shape, np.float32))
    writer.append(rows)
    writer.flush()


def fires(features: Features) -> np.ndarray:
    """Find the features that are not 0 on at least one image: bool, (features,)."""
    if isinstance(features, np.ndarray):
        return (features != 0).any(axis=0)
    return np.bincount(features.indices, minlength=features.shape[1]) > 0


def share_of_values(features: sparse.csr_array, maps: SparseMaps | None) -> float:
    """Return the share of the maps that is not 0, or that of the features if there are no maps."""
    values = features if maps is None else maps.values
    return values.nnz / max(values.shape[0] * values.shape[1], 1)
