"""Embed or caption images and crops of images in batches.

Each image is decoded once for a batch, and each different crop is computed once. Memory is bounded by the batches. The
next batches are decoded and cut while a GPU computes the current one.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import MADE_AGAIN, read_array, read_json, read_table
from falcon_dvc.compute.device import best_device
from falcon_dvc.compute.executor import PerProcess, Task
from falcon_dvc.compute.prefetch import AHEAD, ahead_of, collated, prefetched
from falcon_dvc.compute.resolve import executor_of
from falcon_dvc.compute.resume import Checkpoint, Resumable
from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import Picture, cut
from falcon_dvc.images.open import open_images, which_images
from falcon_dvc.images.source import ImageSource
from falcon_dvc.progress import track

if TYPE_CHECKING:
    import pandas as pd

    from falcon_dvc.models.image_text.base import ImageTextEncoder
    from falcon_dvc.params.schema import Data, ImageTextSpec, Params

CROPS_AN_IMAGE = 8  # crops that take as much memory as an image with its maps
IMAGES_AT_ONCE = 32  # images whose maps are in memory
MAPS = "maps_"
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
    """Embed crops as ``mine_crops.embed`` says: each by a pass of its own, or from the maps of its image.

    Crops that are whole images need no pass: the stage `embed_images` has embedded them. The parameters are those of `embed_crops`.
    """
    if params.mine_crops.embed == "maps":
        return embed_boxes(encoder, rows, boxes)
    whole = _embedded_before(encoder, rows, boxes)
    embeddings = np.empty((len(rows), encoder.dim), dtype=np.float32)
    embeddings[~whole] = embed_crops(params, encoder, rows[~whole], boxes[~whole], work, name)
    if whole.any():
        embeddings[whole] = read_array(paths.IMAGE_EMBEDDINGS / "embeddings.npy")[rows[whole]]
    return embeddings


def _embedded_before(
    encoder: "ImageTextEncoder", rows: Int[np.ndarray, " crops"], boxes: Int[np.ndarray, "crops 4"]
) -> Bool[np.ndarray, " crops"]:
    """Find the crops that are whole images, if the same encoder has embedded these."""
    made_by = paths.IMAGE_EMBEDDINGS / "embeddings.json"
    if not made_by.exists() or read_json(made_by).get("image_text") != encoder.fingerprint:
        return np.zeros(len(rows), dtype=bool)
    images = read_table(paths.IMAGES)
    corners = np.column_stack([images["width"], images["height"]])[rows]
    return (boxes[:, :2] == 0).all(axis=1) & (boxes[:, 2:] == corners).all(axis=1)


def embed_crops(
    params: "Params",
    encoder: "ImageTextEncoder",
    rows: Int[np.ndarray, " crops"],
    boxes: Int[np.ndarray, "crops 4"],
    work: Resumable,
    name: str = "crops",
) -> Float[np.ndarray, "crops dim"]:
    """Compute unit image embeddings of crops.

    Parameters
    ----------
    encoder : that of ``image_text``.
    rows : each crop's row in ``data/images.parquet``.
    boxes : left, top, right, bottom in pixels of the original.
    work : saves finished embeddings under `name`, so that a stopped stage can resume.
    """
    (crops, place), batch_size = different_crops(rows, boxes), params.mine_crops.batch_size
    depends_on = {"encoder": encoder.fingerprint, "batch_size": batch_size}
    checkpoint = checkpoint_of_crops(work, name, params.data, crops, depends_on)
    embedded, first = checkpoint.array("embedded.npy", (len(crops), encoder.dim), np.float32), checkpoint.finished
    with closing(_passes(params, encoder, crops[first:], batch_size, "embedding crops", "embed_prepared")) as found:
        for rows_of_batch in found:
            embedded[first : first + len(rows_of_batch)] = rows_of_batch
            first += len(rows_of_batch)
            checkpoint.save(first)
    checkpoint.save(first, at_once=True)
    return embedded[place]


def _passes(
    params: "Params", encoder: "ImageTextEncoder", crops: Crops, batch_size: int, description: str, method: str
) -> Generator[Any, None, None]:
    """Yield what a method of the encoder returns for each batch of crops, in order and with progress.

    Elsewhere than in this process, each batch is a task.
    """
    batches = in_batches(crops, batch_size)
    with executor_of(params, description) as executor:
        if executor.distributed:
            opened = PerProcess(_opened, params.data, params.image_text, params.device)
            tasks = (Task(f"images {batch[0, 0]}-{batch[-1, 0]}", (batch, method)) for batch in batches)
            found = executor.map(_on_worker, tasks, opened, accelerated=True)
            yield from track(found, description, total=len(batches))
            return
        source = open_images(params.data, read_table(paths.IMAGES))
        ahead = ahead_of(best_device(params.device))
        with closing(batches_of_crops(source, batches, description, encoder.prepare, collated, ahead)) as ready:
            yield from map(getattr(encoder, method), ready)


def _opened(data: "Data", image_text: "ImageTextSpec", asked: str) -> tuple[ImageSource, "ImageTextEncoder"]:
    """Open the images and load the image-text encoder, in any process."""
    from falcon_dvc.models.image_text.load import load_image_text

    return open_images(data, read_table(paths.IMAGES)), load_image_text(image_text, best_device(asked))


def _on_worker(opened: PerProcess, batch: Crops, method: str) -> Any:
    """Compute one batch in a worker."""
    source, encoder = opened()
    pieces = [job() for job in _jobs(source, encoder.prepare, batch)]
    return getattr(encoder, method)(collated(pieces))


def embed_images(
    params: "Params", encoder: Any, images: "pd.DataFrame", work: Resumable, folder: Path
) -> Float[np.ndarray, "images dim"]:
    """Embed whole images; with ``mine_crops.embed: maps``, also write the maps of the encoder's networks, ``maps_0.npy`` and on.

    Parameters
    ----------
    images : the rows of ``data/images.parquet``.
    folder : of the maps. The other parameters are those of `embed_crops`.

    Raises
    ------
    UserError
        If the encoder has no maps.
    """
    nothing, settings = np.zeros(len(images), dtype=int), params.mine_crops
    boxes = np.column_stack([nothing, nothing, images["width"], images["height"]])
    if settings.embed == "crops":
        return embed_crops(params, encoder, np.arange(len(images)), boxes, work, "images")
    if not hasattr(encoder, "embed_with_maps"):
        raise UserError("mine_crops.embed: maps needs image_text of kind aligned in float32; set it to crops")
    batch_size = max(1, settings.batch_size // CROPS_AN_IMAGE)
    crops = np.column_stack([np.arange(len(images)), boxes])
    depends_on = {"encoder": encoder.fingerprint, "batch_size": batch_size, "by": "maps"}
    checkpoint = checkpoint_of_crops(work, "maps", params.data, crops, depends_on)
    _embed_with_maps(params, encoder, crops, batch_size, checkpoint)
    for array in checkpoint.arrays:
        if array.startswith(MAPS):
            checkpoint.move(array, folder / array)
    return np.array(checkpoint.array("embedded.npy", (len(crops), encoder.dim), np.float32))


def _embed_with_maps(params: "Params", encoder: Any, crops: Crops, batch_size: int, checkpoint: Checkpoint) -> None:
    """Fill the arrays of a checkpoint: ``embedded.npy``, and the maps of each network in half precision."""
    embedded, first = checkpoint.array("embedded.npy", (len(crops), encoder.dim), np.float32), checkpoint.finished
    with closing(_passes(params, encoder, crops[first:], batch_size, "embedding images", "embed_with_maps")) as found:
        for embedded_batch, maps in found:
            rows = slice(first, first + len(embedded_batch))
            embedded[rows] = embedded_batch
            for number, own in enumerate(maps):
                checkpoint.array(f"{MAPS}{number}.npy", (len(crops), *own.shape[1:]), np.float16)[rows] = own
            first = rows.stop
            checkpoint.save(first)
    checkpoint.save(first, at_once=True)


def embed_boxes(
    encoder: Any, rows: Int[np.ndarray, " crops"], boxes: Int[np.ndarray, "crops 4"]
) -> Float[np.ndarray, "crops dim"]:
    """Compute unit embeddings of crops from the maps of their images, which the stage `embed_images` wrote.

    Parameters
    ----------
    encoder : an image-text encoder with `embed_boxes`. The other parameters are those of `embed_crops`.

    Raises
    ------
    UserError
        If the maps are missing, or those of another encoder.
    """
    crops, place = different_crops(rows, boxes)
    images = read_table(paths.IMAGES)
    maps, shapes = _read_maps(encoder, len(images)), images[["height", "width"]].to_numpy()
    embedded, shown = np.empty((len(crops), encoder.dim), dtype=np.float32), np.unique(crops[:, 0])
    batches = [shown[start : start + IMAGES_AT_ONCE] for start in range(0, len(shown), IMAGES_AT_ONCE)]
    for batch in track(batches, "embedding crops", total=len(batches)):
        edges = np.searchsorted(crops[:, 0], [*batch, batch[-1] + 1])
        of_images = [crops[start:stop, 1:] for start, stop in pairwise(edges)]
        embedded[edges[0] : edges[-1]] = encoder.embed_boxes([one[batch] for one in maps], shapes[batch], of_images)
    return embedded[place]


def _read_maps(encoder: Any, images: int) -> list[np.ndarray]:
    folder = paths.IMAGE_EMBEDDINGS
    made_by = read_json(folder / "embeddings.json").get("image_text")
    files = sorted(folder.glob(f"{MAPS}*.npy"), key=lambda path: int(path.stem.removeprefix(MAPS)))
    maps = [read_array(path) for path in files]
    if made_by != encoder.fingerprint or not maps or any(one.ndim != 4 or len(one) != images for one in maps):
        raise UserError(f"{folder}: holds no maps of the image-text encoder of image_text; {MADE_AGAIN}")
    return maps


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
    ready = batches_of_crops(source, in_batches(crops, batch_size), "embedding crops", list, pictures)
    return np.concatenate([embed(batch) for batch in ready])[place]


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


def in_batches(crops: Crops, size: int) -> list[Crops]:
    """Divide crops, in their order."""
    return [crops[start : start + size] for start in range(0, len(crops), size)]


def batches_of_crops(
    source: ImageSource,
    batches: Sequence[Crops],
    description: str,
    prepare: Callable[[Sequence[Picture]], Cut],
    join: Callable[[list[tuple[int, Cut]]], Ready],
    ahead: int = AHEAD,
) -> Generator[Ready, None, None]:
    """Yield batches of `different_crops` as a network takes them, in order and with progress.

    Parameters
    ----------
    source : the images; the first column of `batches` is a row of it.
    prepare : prepares the crops of one image; called from several threads.
    join : joins pairs of an image's row and its prepared crops, in any order, to a batch.
    ahead : number of prepared batches beyond the requested one, see `falcon_dvc.compute.prefetch.ahead_of`.
    """
    ready = prefetched(batches, partial(_jobs, source, prepare), join, ahead)
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
