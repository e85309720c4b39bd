"""Rank words in memory by how well they follow a feature over all images, as the stage score_concepts does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from falcon_dvc.activations.rows import DenseRows
from falcon_dvc.evaluation.following import Following
from falcon_dvc.members import mean_of_members

if TYPE_CHECKING:
    from falcon_dvc.api.captions import ImageText
    from falcon_dvc.api.settings import Sections
    from falcon_dvc.concepts.scoring.corpus import Corpus


def following_of(
    compared: np.ndarray,
    groups: pd.DataFrame,
    whole: np.ndarray,
    scores: sparse.csr_array,
    corpus: Corpus,
    towers: ImageText,
    sections: Sections,
) -> Following | None:
    """Collect what the groups and the words do on all images; None if words are ranked by their scores alone.

    Parameters
    ----------
    compared : activations by which images are ranked, (images, features).
    whole : embeddings of the whole images. scores : of the concepts of the corpus in them, sparse (images, concepts).
    """
    settings = sections.concepts
    if settings.ranking != "correlation":
        return None
    words = corpus.frequent_words(sections.caption_images.least_mentions)
    texts = np.zeros((len(words), whole.shape[1]))
    if settings.word_weight or settings.nearest_weight:
        named = [sections.caption_images.template.replace("{}", word) for word in corpus.vocabulary[words]]
        texts = towers.embed_texts(named) if named else texts
    activations = mean_of_members(DenseRows(compared), groups["members"], np.arange(len(compared)))
    constants = settings.word_weight, settings.nearest_weight, settings.word_sharpness
    return Following(activations, scores, words, whole, texts, *constants)
