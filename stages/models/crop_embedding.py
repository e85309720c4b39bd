"""Embed or caption crops of images: each image is decoded once, each different crop seen once, memory bounded by a batch."""

from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from stages.common import files
from stages.common.artifacts import read_table
from stages.common.progress import track
from stages.common.unfinished import Part, Work
from stages.sources.image_sources import open_images, which_images
from stages.sources.images import ImageSource, cut

if TYPE_CHECKING:
    from stages.common.params import Data
    from stages.models.image_text import ImageTextEncoder

IMAGES_AT_ONCE = 64
Crops = Int[np.ndarray, "crops row_and_box"]


def embed_crops(
    data: "Data",
    encoder: "ImageTextEncoder",
    rows: Int[np.ndarray, " crops"],
    boxes: Int[np.ndarray, "crops 4"],
    batch_size: int,
    work: Work,
    name: str = "crops",
) -> Float[np.ndarray, "crops dim"]:
    """Unit image embeddings of crops.

    Parameters
    ----------
    data : the section of params.yaml.
    rows : each crop's row in ``data/images.parquet``.
    boxes : left, top, right, bottom in pixels of the original.
    work : keeps what is embedded, under `name`, should the process end before all is.
    """
    crops, which = different_crops(rows, boxes)
    made_of = {"encoder": encoder.fingerprint, "batch_size": batch_size}
    part = part_of_crops(work, name, data, crops, made_of)
    embedded, first = part.array("embedded.npy", (len(crops), encoder.dim), np.float32), part.finished
    for batch in batches_of_crops(data, crops, first, batch_size, "embedding crops"):
        embedded[first : first + len(batch)] = encoder.embed_images(batch)
        first += len(batch)
        part.note(first)
    part.note(first, at_once=True)
    return embedded[which]


def part_of_crops(work: Work, name: str, data: "Data", crops: Crops, made_of: dict[str, Any]) -> Part:
    """A part of a stage's work that is about crops of images and depends on `made_of` besides."""
    content = sha256(np.ascontiguousarray(crops).tobytes()).hexdigest()
    return work.part(name, {**made_of, "images": which_images(data), "crops": content}, [files.IMAGES])


def different_crops(
    rows: Int[np.ndarray, " crops"], boxes: Int[np.ndarray, "crops 4"]
) -> tuple[Crops, Int[np.ndarray, " crops"]]:
    """The different crops (row, left, top, right, bottom), sorted, and each crop's place among them."""
    different, which = np.unique(np.column_stack([rows, boxes]), axis=0, return_inverse=True)
    return different, which.reshape(-1)


def batches_of_crops(
    data: "Data", crops: Crops, first: int, batch_size: int, description: str
) -> Iterator[list[np.ndarray]]:
    """Pictures of `different_crops` from the `first` on, `batch_size` at once, with progress."""
    left = crops[first:]
    source = open_images(data, read_table(files.IMAGES))
    return track(_batches(source, left, batch_size), description, total=-(-len(left) // batch_size))


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
