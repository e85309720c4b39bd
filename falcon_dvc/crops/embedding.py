"""Embed or caption crops of images: an image is decoded once for a batch, each different crop seen once, memory bounded by batches.

The next batches are decoded and cut while a network sees the one before.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Float, Int

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table
from falcon_dvc.compute.prefetch import collated, prefetched
from falcon_dvc.compute.resume import Checkpoint, Resumable
from falcon_dvc.images.decode import Picture, cut
from falcon_dvc.images.open import open_images, which_images
from falcon_dvc.images.source import ImageSource
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.models.image_text.base import ImageTextEncoder
    from falcon_dvc.params.schema import Data

Cut = TypeVar("Cut")  # what is made of the crops of one image
Ready = TypeVar("Ready")  # what is made of a batch
Crops = Int[np.ndarray, "crops row_and_box"]


def embed_crops(
    data: "Data",
    encoder: "ImageTextEncoder",
    rows: Int[np.ndarray, " crops"],
    boxes: Int[np.ndarray, "crops 4"],
    batch_size: int,
    work: Resumable,
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
    depends_on = {"encoder": encoder.fingerprint, "batch_size": batch_size}
    part = part_of_crops(work, name, data, crops, depends_on)
    embedded, first = part.array("embedded.npy", (len(crops), encoder.dim), np.float32), part.finished
    prepared = batches_of_crops(data, crops, first, batch_size, "embedding crops", encoder.prepare, collated)
    with closing(prepared):
        for batch in prepared:
            embedded[first : first + len(batch)] = encoder.embed_prepared(batch)
            first += len(batch)
            part.save(first)
    part.save(first, at_once=True)
    return embedded[which]


def part_of_crops(work: Resumable, name: str, data: "Data", crops: Crops, depends_on: dict[str, Any]) -> Checkpoint:
    """A part of a stage's work that is about crops of images and depends on `made_of` besides."""
    content = sha256(np.ascontiguousarray(crops).tobytes()).hexdigest()
    return work.checkpoint(name, {**depends_on, "images": which_images(data), "crops": content}, [paths.IMAGES])


def different_crops(
    rows: Int[np.ndarray, " crops"], boxes: Int[np.ndarray, "crops 4"]
) -> tuple[Crops, Int[np.ndarray, " crops"]]:
    """The different crops (row, left, top, right, bottom), sorted, and each crop's place among them."""
    different, which = np.unique(np.column_stack([rows, boxes]), axis=0, return_inverse=True)
    return different, which.reshape(-1)


def batches_of_crops(
    data: "Data",
    crops: Crops,
    first: int,
    batch_size: int,
    description: str,
    prepare: Callable[[Sequence[Picture]], Cut],
    join: Callable[[list[tuple[int, Cut]]], Ready],
) -> Generator[Ready, None, None]:
    """What is made of `different_crops` from the `first` on, `batch_size` at once, in order, with progress.

    Parameters
    ----------
    prepare : makes something of the crops of one image; called from several threads.
    join : makes a batch of the pairs of an image's row and what was made of its crops, which come in no particular order.
    """
    source = open_images(data, read_table(paths.IMAGES))
    batches = [crops[start : start + batch_size] for start in range(first, len(crops), batch_size)]
    ready = prefetched(batches, partial(_jobs, source, prepare), join)
    return track((made for _, made in ready), description, total=len(batches))


def pictures(parts: list[tuple[int, list[Picture]]]) -> list[Picture]:
    """Join lists of crops as they are, in order."""
    return [crop for _, crops in sorted(parts, key=lambda part: part[0]) for crop in crops]


def _jobs(
    source: ImageSource, prepare: Callable[[Sequence[Picture]], Cut], batch: Crops
) -> Iterator[Callable[[], tuple[int, Cut]]]:
    """One job for each image of a batch, `crops` being sorted by image: its pictures need not all be in memory."""
    for row in source.in_storage_order(np.unique(batch[:, 0]).tolist()):
        yield partial(_cut, source, prepare, row, batch[batch[:, 0] == row, 1:])


def _cut(
    source: ImageSource, prepare: Callable[[Sequence[Picture]], Cut], row: int, boxes: Int[np.ndarray, "crops 4"]
) -> tuple[int, Cut]:
    picture = source.load(row)
    return row, prepare([cut(picture, tuple(box)) for box in boxes.tolist()])
