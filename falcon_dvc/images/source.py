"""Images as uint8 RGB: the one place where bytes become pictures, and the rendered world's array and folders."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from PIL import Image

from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import Picture, UnreadableImageError, decoded, printable
from falcon_dvc.images.listing import Collection, existing_folder, inside
from falcon_dvc.threads import WORKERS


class ImageSource(Protocol):
    """Images by row number: row i is the i-th row of the table of images."""

    def __len__(self) -> int: ...

    def load(self, row: int) -> Picture:
        """Give one image."""
        ...

    def load_many(self, rows: Sequence[int], workers: int = WORKERS) -> list[Picture]:
        """Give several images, in the order of `rows`."""
        ...

    def by_place(self, rows: Sequence[int]) -> list[int]:
        """Give `rows` in the order in which their images are best read."""
        ...


class DecodedImages:
    """Pictures that are decoded when asked for.

    Parameters
    ----------
    ids : sequence of str
        Their ids, in row order.
    decode : callable
        Gives the picture at a position of the source, or raises `UnreadableImageError`.
    positions : sequence of int, optional
        Where in the source each row lies; the row itself if not given.
    """

    def __init__(
        self, ids: Sequence[str], decode: Callable[[int], Image.Image], positions: Sequence[int] | None = None
    ) -> None:
        self._ids = list(ids)
        self._decode = decode
        self._positions = range(len(self._ids)) if positions is None else positions

    def __len__(self) -> int:
        return len(self._ids)

    def load(self, row: int) -> Picture:
        """Decode one image.

        Raises
        ------
        UserError
            If it has gone or changed since it was listed.
        """
        try:
            return np.array(self._decode(self._positions[row]))
        except UnreadableImageError as error:
            raise UserError(
                f"data.images: {printable(self._ids[row])}: {error}; changed since it was listed: run `dvc repro` again"
            ) from error

    def load_many(self, rows: Sequence[int], workers: int = WORKERS) -> list[Picture]:
        """Decode several images in threads, in the order of `rows`, reading them in the order in which they lie."""
        order = sorted(range(len(rows)), key=lambda index: self._positions[rows[index]])
        with ThreadPoolExecutor(workers) as pool:
            loaded = dict(zip(order, pool.map(lambda index: self.load(rows[index]), order), strict=True))
        return [loaded[index] for index in range(len(rows))]

    def by_place(self, rows: Sequence[int]) -> list[int]:
        """Give `rows` in the order in which their images lie: neighbours are read together."""
        return sorted(rows, key=lambda row: self._positions[row])


class FolderImages(DecodedImages):
    """The pictures of a folder.

    Parameters
    ----------
    folder : path
        Where the pictures are.
    ids : sequence of str
        Their names relative to the folder, in row order, as `list_images` gives them.
    """

    def __init__(self, folder: str | Path, ids: Sequence[str]) -> None:
        root, names = existing_folder(Path(folder)), list(ids)
        super().__init__(names, lambda row: decoded(inside(root, names[row])))


def open_collection(found: Collection, ids: Sequence[str]) -> DecodedImages:
    """Give the images of a collection by their ids, in the order of `ids`.

    Raises
    ------
    UserError
        If the collection has no image of that id.
    """
    positions = pd.Index(found.ids, dtype=object).get_indexer(pd.Index(ids, dtype=object))
    if (positions < 0).any():
        missing = printable(ids[int(np.flatnonzero(positions < 0)[0])])
        raise UserError(
            f"data.images: {found.place} has no image {missing!r} (any more); run `dvc repro` to list the images again"
        )
    return DecodedImages(ids, found.decode, positions.tolist())
