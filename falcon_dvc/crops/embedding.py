"""Embed or caption crops of images in batches.

Each image is decoded once for a batch, and each different crop is computed once. Memory is bounded by the batches. The
next batches are decoded and cut while a network computes the current one.
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
from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import Picture, cut
from falcon_dvc.images.open import open_images, which_images
from falcon_dvc.images.source import ImageSource
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.models.image_text.base import ImageTextEncoder
    from falcon_dvc.params.schema import Data, Params

CROPS_AN_IMAGE = 8  # crops that take as much memory as an image with its maps
Cut = TypeVar("Cut")  # prepared crops of one image
Ready = TypeVar("Ready")  # a prepared batch
Crops = Int[np.ndarray, "crops row_and_box"]


def embeddings_of_crops(
    params: "Params",
    encoder: "ImageTextEncoder",
    rows: Int[np.ndarray, " crops"],
    boxes: Int[np.ndarray, "crops 4"],
    work: Resumable,
    name: str = "crops",
) -> Float[np.ndarray, "crops dim"]:
    """Embed crops as ``mine_crops.embed`` says: each by a pass of its own, or all crops of an image by one pass over it.

    Raises
    ------
    UserError
        If the encoder has no maps that can be pooled.
    """
    settings = params.mine_crops
    if settings.embed == "crops":
        return embed_crops(params.data, encoder, rows, boxes, settings.batch_size, work, name)
    if not hasattr(encoder, "embed_boxes"):
        raise UserError("mine_crops.embed: maps needs image_text of kind aligned in float32; set it to crops")
    batch_size = max(1, settings.batch_size // CROPS_AN_IMAGE)
    return embed_boxes(params.data, encoder, rows, boxes, batch_size, work, name)


def embed_crops(
    data: "Data",
    encoder: "ImageTextEncoder",
    rows: Int[np.ndarray, " crops"],
    boxes: Int[np.ndarray, "crops 4"],
    batch_size: int,
    work: Resumable,
    name: str = "crops",
) -> Float[np.ndarray, "crops dim"]:
    """Compute unit image embeddings of crops.

    Parameters
    ----------
    data : the section `data` of params.yaml.
    rows : each crop's row in ``data/images.parquet``.
    boxes : left, top, right, bottom in pixels of the original.
    work : saves finished embeddings under `name`, so that a stopped stage can resume.
    """
    crops, place = different_crops(rows, boxes)
    depends_on = {"encoder": encoder.fingerprint, "batch_size": batch_size}
    checkpoint = checkpoint_of_crops(work, name, data, crops, depends_on)
    embedded, first = checkpoint.array("embedded.npy", (len(crops), encoder.dim), np.float32), checkpoint.finished
    source = open_images(data, read_table(paths.IMAGES))
    prepared = batches_of_crops(source, crops, first, batch_size, "embedding crops", encoder.prepare, collated)
    with closing(prepared):
        for batch in prepared:
            embedded[first : first + len(batch)] = encoder.embed_prepared(batch)
            first += len(batch)
            checkpoint.save(first)
    checkpoint.save(first, at_once=True)
    return embedded[place]


def embed_boxes(
    data: "Data",
    encoder: Any,
    rows: Int[np.ndarray, " crops"],
    boxes: Int[np.ndarray, "crops 4"],
    batch_size: int,
    work: Resumable,
    name: str,
) -> Float[np.ndarray, "crops dim"]:
    """Compute unit embeddings of crops from one pass over each image: its maps are pooled over the boxes.

    Parameters
    ----------
    encoder : an image-text encoder with `embed_boxes`.
    batch_size : images in a pass. The other parameters are those of `embed_crops`.
    """
    crops, place = different_crops(rows, boxes)
    depends_on = {"encoder": encoder.fingerprint, "batch_size": batch_size, "by": "maps"}
    checkpoint = checkpoint_of_crops(work, name, data, crops, depends_on)
    embedded, first = checkpoint.array("embedded.npy", (len(crops), encoder.dim), np.float32), checkpoint.finished
    source, images = open_images(data, read_table(paths.IMAGES)), np.unique(crops[first:, 0])
    batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    jobs = partial(_whole_images, source, encoder.prepare)
    ready = track(prefetched(batches, jobs, _with_shapes), "embedding crops", total=len(batches))
    with closing(ready):
        for batch, (prepared, shapes) in ready:
            of_images = [crops[crops[:, 0] == image, 1:] for image in batch]
            found = encoder.embed_boxes(prepared, shapes, of_images)
            embedded[first : first + len(found)] = found
            first += len(found)
            checkpoint.save(first)
    checkpoint.save(first, at_once=True)
    return embedded[place]


def _whole_images(
    source: ImageSource, prepare: Callable[[Sequence[Picture]], Any], batch: Int[np.ndarray, " images"]
) -> Iterator[Callable[[], tuple[int, Any, tuple[int, int]]]]:
    """Yield one job for each image of a batch: its row, prepared, and its height and width."""
    for row in source.in_storage_order(batch.tolist()):
        yield partial(_whole_image, source, prepare, row)


def _whole_image(source: ImageSource, prepare: Callable, row: int) -> tuple[int, Any, tuple[int, int]]:
    picture = source.load(row)
    return row, prepare([picture]), picture.shape[:2]


def _with_shapes(images: list[tuple[int, Any, tuple[int, int]]]) -> tuple[Any, list[tuple[int, int]]]:
    """Join the prepared images of a batch, and their shapes, in the order of their rows."""
    prepared = collated((row, one) for row, one, _ in images)
    return prepared, [shape for _, _, shape in sorted(images, key=lambda image: image[0])]


def embed_pictures(
    source: ImageSource,
    embed: Callable[[list[Picture]], Float[np.ndarray, "crops dim"]],
    rows: Int[np.ndarray, " crops"],
    boxes: Int[np.ndarray, "crops 4"],
    batch_size: int,
) -> Float[np.ndarray, "crops dim"]:
    """Compute the embeddings of crops in memory, by the batches of `embed_crops`.

    Parameters
    ----------
    source : the images.
    embed : from pictures to their embeddings.
    rows : each crop's row in `source`.
    boxes : left, top, right, bottom in pixels of the image.
    """
    crops, place = different_crops(rows, boxes)
    batches = batches_of_crops(source, crops, 0, batch_size, "embedding crops", list, pictures)
    return np.concatenate([embed(batch) for batch in batches])[place]


def checkpoint_of_crops(
    work: Resumable, name: str, data: "Data", crops: Crops, depends_on: dict[str, Any]
) -> Checkpoint:
    """Open a checkpoint of a stage for work on crops, which also depends on `depends_on`."""
    content = sha256(np.ascontiguousarray(crops).tobytes()).hexdigest()
    return work.checkpoint(name, {**depends_on, "images": which_images(data), "crops": content}, [paths.IMAGES])


def different_crops(
    rows: Int[np.ndarray, " crops"], boxes: Int[np.ndarray, "crops 4"]
) -> tuple[Crops, Int[np.ndarray, " crops"]]:
    """Find the different crops (row, left, top, right, bottom), sorted, and the place of each crop among them."""
    different, which = np.unique(np.column_stack([rows, boxes]), axis=0, return_inverse=True)
    return different, which.reshape(-1)


def batches_of_crops(
    source: ImageSource,
    crops: Crops,
    first: int,
    batch_size: int,
    description: str,
    prepare: Callable[[Sequence[Picture]], Cut],
    join: Callable[[list[tuple[int, Cut]]], Ready],
) -> Generator[Ready, None, None]:
    """Yield the prepared batches of `different_crops` from the `first` on, in order, with progress.

    Parameters
    ----------
    source : the images; the first column of `crops` is a row of it.
    prepare : prepares the crops of one image; called from several threads.
    join : joins pairs of an image's row and its prepared crops, in any order, to a batch.
    """
    batches = [crops[start : start + batch_size] for start in range(first, len(crops), batch_size)]
    ready = prefetched(batches, partial(_jobs, source, prepare), join)
    return track((batch for _, batch in ready), description, total=len(batches))


def pictures(crops_of_images: list[tuple[int, list[Picture]]]) -> list[Picture]:
    """Join lists of crops unchanged, in the order of their images."""
    return [crop for _, crops in sorted(crops_of_images, key=lambda pair: pair[0]) for crop in crops]


def _jobs(
    source: ImageSource, prepare: Callable[[Sequence[Picture]], Cut], batch: Crops
) -> Iterator[Callable[[], tuple[int, Cut]]]:
    """Yield one job for each image of a batch.

    The crops are sorted by image, so the images of a batch need not all be in memory.
    """
    for row in source.in_storage_order(np.unique(batch[:, 0]).tolist()):
        yield partial(_cut, source, prepare, row, batch[batch[:, 0] == row, 1:])


def _cut(
    source: ImageSource, prepare: Callable[[Sequence[Picture]], Cut], row: int, boxes: Int[np.ndarray, "crops 4"]
) -> tuple[int, Cut]:
    picture = source.load(row)
    return row, prepare([cut(picture, tuple(box)) for box in boxes.tolist()])
