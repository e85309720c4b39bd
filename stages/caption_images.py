"""Caption every whole image once: what judges words on images that did not choose them, and what other methods read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json, read_rows, read_table, write_array, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.compute.resolve import executor_of
from falcon_dvc.compute.resume import Resumable, resumable
from falcon_dvc.concepts.scoring.corpus import Corpus, read_centre, read_corpus
from falcon_dvc.concepts.scoring.explanation import Captioned
from falcon_dvc.crops.windows import WINDOWS, beside

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params


def run(params: Params) -> StageSummary:
    """Write ``captions.npy`` and ``weights.npy``, a row for each row of ``data/images.parquet``: of the image and its windows.

    ``words.npy`` holds the embeddings of the corpus's words, and ``words.parquet`` their concepts.
    """
    from falcon_dvc.compute.device import best_device
    from falcon_dvc.models.image_text.load import load_image_text

    corpus, images, folder = read_corpus(), read_table(paths.IMAGES), paths.IMAGE_CAPTIONS
    corpus.refuse_other(read_json(paths.IMAGE_EMBEDDINGS / "embeddings.json")["image_text"], "image_text")
    embeddings = _embeddings(len(images), params.caption_images.window != "off")
    with resumable("caption_images") as work:
        captions = _captioned(params, corpus, embeddings - read_centre(params.concepts, embeddings.shape[1]), work)
    for name, values in (("captions", captions.captions), ("weights", captions.weights)):
        write_array(folder / f"{name}.npy", beside(values[: len(images)], values[len(images) :]))
    words = corpus.frequent_words(params.caption_images.least_mentions)
    texts = [params.caption_images.template.format(word) for word in corpus.vocabulary[words]]
    encoder = load_image_text(params.image_text, best_device(params.device))
    write_array(folder / "words.npy", encoder.embed_texts(texts))
    write_table(folder / "words.parquet", pd.DataFrame({"concept": words, "word": corpus.vocabulary[words]}))
    return StageSummary(
        read={"images": len(images), "captions": len(corpus.captions)},
        wrote={f"captioned images to {folder}": len(images)},
    )


def _embeddings(images: int, has_windows: bool) -> np.ndarray:
    """Read the embeddings of all images and, after them, of their windows."""
    folder = paths.IMAGE_EMBEDDINGS
    whole = read_rows(folder / "embeddings.npy", images, paths.IMAGES)
    if not has_windows:
        return whole
    return np.concatenate([whole, read_rows(folder / "windows.npy", WINDOWS * images, paths.IMAGES)])


def _captioned(params: Params, corpus: Corpus, embeddings: np.ndarray, work: Resumable) -> Captioned:
    """Retrieve the captions of every image and window, as those of crops."""
    settings = params.concepts
    shards = settings.shards if settings.normaliser == "shard" else None
    depends_on = {
        "captions": settings.captions_per_image,
        "temperature": settings.temperature,
        "by": settings.normaliser,
        "hubs": settings.hub_correction,
        "compared": "different images",
        "window": params.caption_images.window,
    }
    compared = [paths.IMAGE_EMBEDDINGS / name for name in ("embeddings.npy", "windows.npy")]
    inputs = [paths.CAPTIONS, *(path for path in compared if path.exists())]
    checkpoint = work.checkpoint("captions", depends_on, inputs)
    with executor_of(params, "caption_images") as executor:
        return corpus.captioned(embeddings, settings, shards, checkpoint, executor)
