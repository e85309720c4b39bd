"""Caption every whole image once: what judges words on images that did not choose them, and what other methods read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table, write_array, write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.compute.resolve import executor_of
from falcon_dvc.compute.resume import Resumable, resumable
from falcon_dvc.concepts.scoring.corpus import Corpus, read_centre, read_corpus
from falcon_dvc.concepts.scoring.explanation import Captioned

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params


def run(params: Params) -> StageSummary:
    """Write ``embeddings.npy``, ``captions.npy`` and ``weights.npy``, a row for each row of ``data/images.parquet``.

    ``centre.npy`` is the mean of the probe images: its cosine with a caption is the mean cosine of the caption over these
    images, which `concepts.hub_correction` subtracts.

    ``words.npy`` holds the embeddings of the corpus's words, and ``words.parquet`` their concepts. ``embeddings.json``
    names the image-text encoder.
    """
    from falcon_dvc.compute.device import best_device
    from falcon_dvc.crops.embedding import embed_crops
    from falcon_dvc.models.image_text.load import load_image_text

    corpus, images, folder = read_corpus(), read_table(paths.IMAGES), paths.IMAGE_CAPTIONS
    encoder = load_image_text(params.image_text, best_device(params.device))
    corpus.refuse_other(encoder.fingerprint, "image_text")
    nothing = np.zeros(len(images), dtype=int)
    boxes = np.column_stack([nothing, nothing, images["width"], images["height"]])
    with resumable("caption_images") as work:
        batch = params.mine_crops.batch_size
        embeddings = embed_crops(params.data, encoder, np.arange(len(images)), boxes, batch, work, "images")
        write_array(folder / "embeddings.npy", embeddings)
        centre = embeddings[images["split"] == "probe"].mean(axis=0)
        write_array(folder / "centre.npy", centre)
        compared = embeddings - read_centre(params.concepts, len(centre))
        captions = _captioned(params, corpus, compared, work)
    write_array(folder / "captions.npy", captions.captions)
    write_array(folder / "weights.npy", captions.weights)
    words = frequent_words(corpus, params.caption_images.least_mentions)
    texts = [params.caption_images.template.format(word) for word in corpus.vocabulary[words]]
    write_array(folder / "words.npy", encoder.embed_texts(texts))
    write_table(folder / "words.parquet", pd.DataFrame({"concept": words, "word": corpus.vocabulary[words]}))
    write_json(folder / "embeddings.json", {"image_text": encoder.fingerprint, "preprocessing": encoder.preprocessing})
    return StageSummary(
        read={"images": len(images), "captions": len(corpus.captions)},
        wrote={f"captioned images to {folder}": len(images)},
    )


def frequent_words(corpus: Corpus, least: int) -> np.ndarray:
    """Return the words that at least `least` captions mention, or all words if there are fewer than two such words."""
    words = np.flatnonzero(~corpus.mentions.phrase)
    count = np.asarray(corpus.mentions.incidence.sum(axis=0)).reshape(-1)[words]
    return words[count >= least] if (count >= least).sum() > 1 else words


def _captioned(params: Params, corpus: Corpus, embeddings: np.ndarray, work: Resumable) -> Captioned:
    """Retrieve the captions of every image, as those of crops."""
    settings = params.concepts
    shards = settings.shards if settings.normaliser == "shard" else None
    depends_on = {"captions": settings.captions_per_image, "by": settings.normaliser, "at": settings.temperature}
    depends_on["hubs"] = settings.hub_correction
    checkpoint = work.checkpoint("captions", depends_on, [paths.CAPTIONS, paths.IMAGE_CAPTIONS / "embeddings.npy"])
    with executor_of(params, "caption_images") as executor:
        return corpus.captioned(embeddings, settings, shards, checkpoint, executor)
