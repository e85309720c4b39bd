"""Embed or caption crops of images: each image is decoded once, each different crop seen once, memory bounded by a batch."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import Float, Int

from stages.common.progress import track
from stages.sources.images import ImageSource, cut

if TYPE_CHECKING:
    from stages.models.image_text import ImageTextEncoder

T = TypeVar("T")
IMAGES_AT_ONCE = 64


def embed_crops(
    source: ImageSource,
    encoder: "ImageTextEncoder",
    rows: Int[np.ndarray, " crops"],
    boxes: Int[np.ndarray, "crops 4"],
    batch_size: int,
) -> Float[np.ndarray, "crops dim"]:
    """Unit image embeddings of crops.

    Parameters
    ----------
    rows : each crop's row in `source`.
    boxes : left, top, right, bottom in pixels of the original.
    """
    embedded, which = of_different_crops(encoder.embed_images, "embedding crops", source, rows, boxes, batch_size)
    return np.concatenate(embedded).astype(np.float32)[which]


def of_different_crops(
    compute: Callable[[list[np.ndarray]], T],
    description: str,
    source: ImageSource,
    rows: Int[np.ndarray, " crops"],
    boxes: Int[np.ndarray, "crops 4"],
    batch_size: int,
) -> tuple[list[T], Int[np.ndarray, " crops"]]:
    """What `compute` makes of batches of the different crops, and each crop's place among the different ones."""
    different, which = np.unique(np.column_stack([rows, boxes]), axis=0, return_inverse=True)
    batches, total = _batches(source, different, batch_size), -(-len(different) // batch_size)
    return [compute(batch) for batch in track(batches, description, total=total)], which.reshape(-1)


def _batches(source: ImageSource, crops: np.ndarray, batch_size: int) -> Iterator[list[np.ndarray]]:
    """Lists of `batch_size` crops, in order."""
    batch: list[np.ndarray] = []
    for crop in _cut_all(source, crops):
        batch.append(crop)
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def _cut_all(source: ImageSource, crops: np.ndarray) -> Iterator[np.ndarray]:
    """Every crop in order; the images are loaded a few at a time, `crops` being sorted by image."""
    images = np.unique(crops[:, 0])
    for start in range(0, len(images), IMAGES_AT_ONCE):
        rows = images[start : start + IMAGES_AT_ONCE]
        loaded = dict(zip(rows.tolist(), source.load_many(rows.tolist()), strict=True))
        first, last = np.searchsorted(crops[:, 0], [rows[0], rows[-1] + 1])
        for row, *box in crops[first:last].tolist():
            yield cut(loaded[row], tuple(box))
