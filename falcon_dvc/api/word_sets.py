"""Find the words that each feature follows over whole images, as the stage find_facets does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import sparse

from falcon_dvc.concepts.scoring.scores import crop_scores
from falcon_dvc.crops.windows import beside
from falcon_dvc.evaluation.explaining_sets import explaining_sets
from falcon_dvc.evaluation.set_tables import set_table
from falcon_dvc.evaluation.word_sets import Division, word_sets
from falcon_dvc.groups.image_sets import compared_activations

if TYPE_CHECKING:
    from falcon_dvc.api.settings import Sections
    from falcon_dvc.concepts.scoring.corpus import Corpus
    from falcon_dvc.params.schema import Concepts

HELD_OUT = 5  # one of so many images measures R²; the others choose and judge words


def word_scores(
    images: Float[np.ndarray, "images dim"],
    windows: Float[np.ndarray, "windows dim"],
    corpus: Corpus,
    settings: Concepts,
) -> sparse.csr_array:
    """Compute the score of each concept of the corpus in each image, with its windows: sparse (images, concepts)."""
    shards = settings.shards if settings.normaliser == "shard" else None
    found = corpus.captioned(np.concatenate([images, windows]), settings, shards)
    captions, weights = (
        beside(values[: len(images)], values[len(images) :]) for values in (found.captions, found.weights)
    )
    return crop_scores(captions, weights, corpus.mentions)


def sets_of_words(
    features: np.ndarray, scores: sparse.csr_array, groups: pd.DataFrame, corpus: Corpus, sections: Sections
) -> pd.DataFrame:
    """Find the words that each explained feature follows, with a sentence; the table has the columns of ``E_word_sets.csv``.

    Parameters
    ----------
    features : (images, features) as the encoder returns them.
    scores : those of `word_scores`.
    groups : features and groups that are explained; groups of several features have no words here.
    """
    settings, single = sections.find_facets, groups[groups["size"] == 1]
    words = np.flatnonzero(~corpus.mentions.phrase)
    scores = scores[:, words]
    compared = compared_activations(features, sections.find_groups.normalise)[:, single["members"].astype(int)]
    division = _division(len(features), settings.seed)
    sets = word_sets(compared, scores, division, settings.most_words, settings.candidates, settings.least_gain)
    rule = (settings.candidates, settings.least_gain, settings.confidence)
    explaining = explaining_sets(compared, scores, division, sets, *rule)
    return set_table(single["group"], sets, explaining, corpus.vocabulary[words])


def _division(images: int, seed: int) -> Division:
    """Divide the images at random: two parts of equal size choose and judge words, and the rest is held out."""
    order = np.random.default_rng(seed).permutation(images)
    heldout, rest = np.split(order, [images // HELD_OUT])
    return Division(rest[::2], rest[1::2], heldout)
