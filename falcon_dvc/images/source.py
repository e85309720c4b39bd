"""Image sources: images as uint8 RGB arrays, by row number."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from PIL import Image

from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import Picture, UnreadableImageError, decoded, printable
from falcon_dvc.images.folders import existing_folder, inside
from falcon_dvc.images.listing import Collection
from falcon_dvc.threads import WORKERS


class ImageSource(Protocol):
    """Images by row number. Row i is row i of the table of images."""

    def __len__(self) -> int: ...

    def load(self, row: int) -> Picture:
        """Return one image."""
        ...

    def load_many(self, rows: Sequence[int], workers: int = WORKERS) -> list[Picture]:
        """Return several images, in the order of `rows`."""
        ...

    def in_storage_order(self, rows: Sequence[int]) -> list[int]:
        """Return `rows` in the order that reads their images fastest."""
        ...


class DecodedImages:
    """Pictures that are decoded on request.

    Parameters
    ----------
    ids : sequence of str
        Their ids, in row order.
    decode : callable
        From a position in the source to the picture; raises `UnreadableImageError`.
    positions : sequence of int, optional
        Position in the source of each row; by default the row number.
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
            If it was removed or damaged since it was listed.
        """
        try:
            return np.array(self._decode(self._positions[row]))
        except UnreadableImageError as error:
            raise UserError(
                f"data.images: {printable(self._ids[row])}: {error}; changed since it was listed: run `dvc repro` again"
            ) from error

    def load_many(self, rows: Sequence[int], workers: int = WORKERS) -> list[Picture]:
        """Decode several images in threads; read them in storage order, return them in the order of `rows`."""
        order = sorted(range(len(rows)), key=lambda index: self._positions[rows[index]])
        with ThreadPoolExecutor(workers) as pool:
            loaded = dict(zip(order, pool.map(lambda index: self.load(rows[index]), order), strict=True))
        return [loaded[index] for index in range(len(rows))]

    def in_storage_order(self, rows: Sequence[int]) -> list[int]:
        """Return `rows` sorted by the positions of their images, so that neighbours are read together."""
        return sorted(rows, key=lambda row: self._positions[row])


class PicturesInMemory:
    """Pictures that are decoded already.

    Parameters
    ----------
    pictures : sequence of (height, width, 3) uint8 arrays
    """

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def load(self, row: int) -> Picture:
        """Return one image."""
        return self._pictures[row]

    def load_many(self, rows: Sequence[int], workers: int = WORKERS) -> list[Picture]:
        """Return several images, in the order of `rows`."""
        return [self._pictures[row] for row in rows]

    def in_storage_order(self, rows: Sequence[int]) -> list[int]:
        """Return `rows` as they are."""
        return list(rows)


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


def open_collection(collection: Collection, ids: Sequence[str]) -> DecodedImages:
    """Open the images of a collection by their ids, in the order of `ids`.

    Raises
    ------
    UserError
        If the collection has no image with one of the ids.
    """
    positions = pd.Index(collection.ids, dtype=object).get_indexer(pd.Index(ids, dtype=object))
    if (positions < 0).any():
        missing = printable(ids[int(np.flatnonzero(positions < 0)[0])])
        raise UserError(
            f"data.images: {collection.place} has no image {missing!r}; run `dvc repro` to list the images again"
        )
    return DecodedImages(ids, collection.decode, positions.tolist())
