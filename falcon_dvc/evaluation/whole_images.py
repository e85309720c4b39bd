"""Name features by the methods of `rivals`, on the whole probe images of a run and the words of its corpus."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import MADE_AGAIN, read_rows, read_table
from falcon_dvc.concepts.scoring.corpus import Corpus
from falcon_dvc.concepts.scoring.scores import crop_scores
from falcon_dvc.errors import UserError
from falcon_dvc.evaluation.rivals import (
    caption_correlation,
    clip_dissect,
    contrastive_projection,
    nearest_text,
)

POSITIVES = 30  # strongest highly activating crops of a feature in `contrastive_projection`
NEGATIVES = 30  # most similar lowly activating crops
# Best of 6 combinations on the synthetic data sets on which settings are chosen (studies/, role selection).
TUNED_SHARPNESS, TUNED_DISCOUNT = 30.0, 0.5  # constants of CLIP-Dissect


@dataclass(frozen=True)
class WholeImages:
    """Hold the captioned whole images of a run.

    Attributes
    ----------
    embeddings : unit image embeddings, (images, dim).
    scores : ``s_x(w)`` of every image and concept, sparse (images, concepts).
    words : concepts that have a text embedding; `texts`: these embeddings, (words, dim).
    """

    embeddings: np.ndarray
    scores: sparse.csr_array
    words: np.ndarray
    texts: np.ndarray


def read_whole_images(corpus: Corpus) -> WholeImages:
    """Read what the stages `embed_images` and `caption_images` wrote."""
    folder = paths.IMAGE_CAPTIONS
    embeddings = read_rows(paths.IMAGE_EMBEDDINGS / "embeddings.npy", len(read_table(paths.IMAGES)), paths.IMAGES)
    words = read_table(folder / "words.parquet")["concept"].to_numpy()
    texts = read_rows(folder / "words.npy", len(words), folder / "words.parquet")
    _check(
        texts.shape[1] == embeddings.shape[1],
        "words.npy",
        f"rows of width {texts.shape[1]}, but those of images differ",
    )
    _check(_numbers(words, len(corpus.vocabulary)), "words.parquet", f"a concept that is not in {paths.MENTIONS}")
    return WholeImages(embeddings, image_scores(corpus), words, texts)


def image_scores(corpus: Corpus) -> sparse.csr_array:
    """Compute ``s_x(w)`` of every whole image and concept: sparse (images, concepts)."""
    folder, images = paths.IMAGE_CAPTIONS, len(read_table(paths.IMAGES))
    captions, weights = (read_rows(folder / f"{part}.npy", images, paths.IMAGES) for part in ("captions", "weights"))
    _check(captions.shape == weights.shape, "weights.npy", f"shape {weights.shape}, but captions.npy {captions.shape}")
    known = np.isin(captions, corpus.mentions.captions) | (captions < 0)
    _check(bool(known.all()), "captions.npy", f"a caption that is not in {paths.CAPTIONS}")
    return crop_scores(captions, weights, corpus.mentions)


def _numbers(concepts: np.ndarray, count: int) -> bool:
    return concepts.dtype.kind in "iu" and bool(((concepts >= 0) & (concepts < count)).all())


def _check(holds: bool, file: str, problem: str) -> None:
    """Refuse a file of `caption_images` that does not belong to the others."""
    if not holds:
        raise UserError(f"{paths.IMAGE_CAPTIONS / file}: {problem}; {MADE_AGAIN}")


def rankings(rows: np.ndarray, whole: WholeImages, raw: np.ndarray, activations: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the values by which each method ranks the words for each feature: (features, words).

    Parameters
    ----------
    rows : the probe images.
    raw : features as the encoder returns them; `activations`: those by which images are ranked. (images, features).
    """
    images = whole.embeddings[rows]
    return {
        "clip_dissect": clip_dissect(images, raw[rows], whole.texts),
        "clip_dissect_tuned": clip_dissect(images, raw[rows], whole.texts, TUNED_SHARPNESS, TUNED_DISCOUNT),
        "nearest_text": nearest_text(images, activations[rows], whole.texts),
        "caption_correlation": caption_correlation(activations[rows], whole.scores[rows][:, whole.words]),
    }


def projections(features: np.ndarray, crops: pd.DataFrame, embeddings: np.ndarray, whole: WholeImages) -> np.ndarray:
    """Compute `contrastive_projection` of the crops of each feature: (features, words)."""
    high, low = (
        _of_role(role, count, features, crops, embeddings) for role, count in (("high", POSITIVES), ("low", NEGATIVES))
    )
    return contrastive_projection(high, low, whole.texts)


def _of_role(role: str, count: int, features: np.ndarray, crops: pd.DataFrame, embeddings: np.ndarray) -> np.ndarray:
    """Return the first `count` crops of each feature in one role; zero rows where there are fewer."""
    feature, rank = pd.Index(features).get_indexer(crops["group"]), crops["rank"].to_numpy()
    rows = np.flatnonzero((feature >= 0) & (crops["role"] == role) & (rank < count))
    found = np.zeros((len(features), count, embeddings.shape[1]))
    found[feature[rows], rank[rows]] = embeddings[rows]
    return found
