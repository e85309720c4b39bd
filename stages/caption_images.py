"""Caption every whole image once: what judges words on images that did not choose them, and what other methods read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json, read_rows, read_table, write_array, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.compute.resolve import executor_of
from falcon_dvc.compute.resume import Checkpoint, Resumable, resumable
from falcon_dvc.concepts.scoring.corpus import Corpus, read_centre, read_corpus
from falcon_dvc.concepts.scoring.explanation import Captioned
from falcon_dvc.crops.windows import WINDOWS, beside

if TYPE_CHECKING:
    from falcon_dvc.models.image_text.base import ImageTextEncoder
    from falcon_dvc.params.schema import Params

VIEWS_AT_ONCE = 131_072  # images and windows whose embeddings are in memory; each block is compared with all captions


def run(params: Params) -> StageSummary:
    """Write ``captions.npy`` and ``weights.npy``, a row for each row of ``data/images.parquet``: of the image and its windows.

    ``words.npy`` holds the embeddings of the corpus's words, and ``words.parquet`` their concepts.
    """
    from falcon_dvc.compute.device import best_device
    from falcon_dvc.models.image_text.load import load_image_text

    corpus, images, folder = read_corpus(), read_table(paths.IMAGES), paths.IMAGE_CAPTIONS
    corpus.refuse_other(read_json(paths.IMAGE_EMBEDDINGS / "embeddings.json")["image_text"], "image_text")
    with resumable("caption_images") as work:
        captions = _captioned(params, corpus, _views(len(images), params.caption_images.window), work)
    for name, values in (("captions", captions.captions), ("weights", captions.weights)):
        write_array(folder / f"{name}.npy", beside(values[: len(images)], values[len(images) :]))
    words = corpus.frequent_words(params.caption_images.least_mentions)
    texts = [params.caption_images.template.replace("{}", word) for word in corpus.vocabulary[words]]
    encoder = load_image_text(params.image_text, best_device(params.device))
    write_array(folder / "words.npy", _embedded(encoder, texts, corpus))
    write_table(folder / "words.parquet", pd.DataFrame({"concept": words, "word": corpus.vocabulary[words]}))
    return StageSummary(
        read={"images": len(images), "captions": len(corpus.captions)},
        wrote={f"captioned images to {folder}": len(images)},
    )


def _embedded(encoder: ImageTextEncoder, texts: list[str], corpus: Corpus) -> np.ndarray:
    """Embed words; a vocabulary can consist of phrases alone, and has none."""
    return encoder.embed_texts(texts) if texts else np.zeros((0, corpus.embeddings.shape[1]), dtype=np.float32)


def _views(images: int, window: float | str) -> list[np.ndarray]:
    """Open the embeddings of all images and of their windows."""
    windows = 0 if window == "off" else WINDOWS * images
    return [
        read_rows(paths.IMAGE_EMBEDDINGS / "embeddings.npy", images, paths.IMAGES),
        read_rows(paths.IMAGE_WINDOWS, windows, paths.IMAGES),
    ]


def _captioned(params: Params, corpus: Corpus, views: list[np.ndarray], work: Resumable) -> Captioned:
    """Retrieve the captions of every image and, after them, of every window, as those of crops; a block at a time."""
    centre = read_centre(params.concepts, views[0].shape[1])
    found = []
    for start in range(0, sum(map(len, views)), VIEWS_AT_ONCE):
        checkpoint = _checkpoint(params, work, start)
        with executor_of(params, "caption_images") as executor:
            shards = params.concepts.shards if params.concepts.normaliser == "shard" else None
            block = _rows(views, start, start + VIEWS_AT_ONCE) - centre
            found.append(corpus.captioned(block, params.concepts, shards, checkpoint, executor))
    return Captioned(*(np.concatenate([getattr(part, name) for part in found]) for name in ("captions", "weights")))


def _rows(arrays: list[np.ndarray], start: int, stop: int) -> np.ndarray:
    """Read rows of the arrays, as if these were one after the other."""
    parts, before = [], 0
    for array in arrays:
        parts.append(array[max(start - before, 0) : max(stop - before, 0)])
        before += len(array)
    return np.concatenate(parts)


def _checkpoint(params: Params, work: Resumable, start: int) -> Checkpoint:
    """Open the checkpoint of the block of views that starts there."""
    settings = params.concepts
    depends_on = {
        "captions": settings.captions_per_image,
        "temperature": settings.temperature,
        "by": settings.normaliser,
        "hubs": settings.hub_correction,
        "compared": "different images",
        "window": params.caption_images.window,
        "block": [start, VIEWS_AT_ONCE],
    }
    inputs = [paths.CAPTIONS, paths.IMAGE_EMBEDDINGS / "embeddings.npy", paths.IMAGE_WINDOWS]
    return work.checkpoint(f"captions-{start}", depends_on, inputs)
