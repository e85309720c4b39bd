"""The images of the synthetic data set: one memory-mapped array."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from falcon_dvc.artifacts.formats import read_array, read_table
from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import Picture


class PackedImages:
    """The synthetic data set: a memory-mapped array ``images.npy`` and ``attributes.parquet`` with a row for each image.

    Parameters
    ----------
    folder : path
        Holds both files.
    ids : sequence, optional
        The ids in the table of the images to open, in row order; by default all.

    Raises
    ------
    UserError
        If a file is missing, does not hold images, or does not match the other.
    """

    def __init__(self, folder: str | Path, ids: Sequence | None = None) -> None:
        self._images = read_array(Path(folder) / "images.npy")
        table = _attributes(Path(folder) / "attributes.parquet")
        _check_packed(Path(folder), self._images, table)
        self._rows = np.arange(len(table)) if ids is None else _positions(Path(folder), table, ids)

    def __len__(self) -> int:
        return len(self._rows)

    def load(self, row: int) -> Picture:
        """Read one image."""
        return np.array(self._images[self._rows[row]])

    def load_many(self, rows: Sequence[int], workers: int = 1) -> list[Picture]:
        """Read several images, in the order of `rows`; `workers` has no effect, since the images are not encoded."""
        return [self.load(row) for row in rows]

    def in_storage_order(self, rows: Sequence[int]) -> list[int]:
        """Return `rows` unchanged: the array is memory-mapped, and any order is fast."""
        return list(rows)


def _attributes(path: Path) -> pd.Index:
    """Read the ids of the synthetic images."""
    table = read_table(path)
    if "image" not in table or table["image"].duplicated().any():
        raise UserError(
            f"{path}: needs a column image with a different id in each row; run `dvc repro` to make it again"
        )
    return pd.Index(table["image"])


def _check_packed(folder: Path, images: np.ndarray, ids: pd.Index) -> None:
    """Raise unless the array holds square RGB images, one for each row of the table."""
    shape = images.shape
    if images.dtype != np.uint8 or len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3:
        raise UserError(
            f"{folder}/images.npy: {images.dtype} {shape} is not uint8 (N, S, S, 3); run `dvc repro` to make it again"
        )
    if len(ids) != len(images):
        raise UserError(
            f"{folder}: {len(images)} images but {len(ids)} rows of attributes; run `dvc repro` to make both again"
        )


def _positions(folder: Path, known: pd.Index, ids: Sequence) -> np.ndarray:
    """Find the rows of the ids in the packed array."""
    rows = known.get_indexer(pd.Index(ids))
    if (rows < 0).any():
        missing = ids[int(np.flatnonzero(rows < 0)[0])]
        raise UserError(f"{folder}/attributes.parquet: there is no image {missing!r}; run `dvc repro` to make it again")
    return rows
