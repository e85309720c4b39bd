"""Measure, without labels, whether the first word of a feature follows the feature on held-out images.

An image has the score ``s(w)`` of a word: the largest weight of its retrieved captions that mention w (0 if none does). The
faithfulness of feature j with first word w is the Pearson correlation of its activation with ``s(w)`` on held-out images:

    r_j = corr(a_j, s(w_j))

Any word follows some features, also of an untrained encoder. So the level that features of encoders with random weights
reach with the *same word* is subtracted (`reference_level`). The rest is compared with that of other encoders with
random weights, whose features were explained by the whole pipeline (`p_values`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import sparse

from falcon_dvc.evaluation.statistics import PAIRS_AT_ONCE, standardised

WORDS_AT_ONCE = 512  # words whose correlations with all reference features are in memory
FEATURES_AT_ONCE = 256  # features that are in memory in double precision

Activations = Float[np.ndarray, "images features"]


def faithfulness(
    activations: Float[np.ndarray, "images pairs"], scores: sparse.csc_array, word: Int[np.ndarray, " pairs"]
) -> Float[np.ndarray, " pairs"]:
    """Compute the correlation of each column of activations with the scores of its word; 0 where either is constant.

    Parameters
    ----------
    activations : one column for each feature or group.
    scores : scores of all words on the same images, sparse (images, words).
    word : the column of `scores` that belongs to each column of activations; -1 if there is no word.
    """
    found = np.empty(len(word))
    for start in range(0, len(word), PAIRS_AT_ONCE):
        pairs = slice(start, start + PAIRS_AT_ONCE)
        columns = standardised(scores_of(scores, word[pairs]))
        found[pairs] = np.einsum("ij,ij->j", standardised(activations[:, pairs]), columns) / len(activations)
    return found


def scores_of(scores: sparse.csc_array, word: Int[np.ndarray, " pairs"]) -> Float[np.ndarray, "images pairs"]:
    """Select the scores of words as a dense matrix, with zeros where there is no word (-1)."""
    columns = np.zeros((scores.shape[0], len(word)))
    known = np.flatnonzero(word >= 0)
    columns[:, known] = scores[:, word[known]].toarray()
    return columns


def correlations_with_words(activations: Activations, scores: sparse.csc_array) -> Float[np.ndarray, "features words"]:
    """Compute the correlation of every feature with the scores of every word; 0 where either is constant.

    The scores stay sparse: a centred feature makes centring them unnecessary.
    """
    images = scores.shape[0]
    mean = np.asarray(scores.sum(axis=0)).reshape(-1) / images
    square = np.asarray(scores.power(2).sum(axis=0)).reshape(-1) / images
    spread = np.sqrt(np.maximum(square - mean**2, 0.0))
    product = np.empty((activations.shape[1], scores.shape[1]))
    for start in range(0, len(product), FEATURES_AT_ONCE):
        features = slice(start, start + FEATURES_AT_ONCE)
        product[features] = (scores.T @ standardised(activations[:, features])).T / images
    return np.divide(product, spread, out=np.zeros_like(product), where=spread > 0)


def reference_level(
    references: Float[np.ndarray, "copies images features"], scores: sparse.csc_array, quantile: float
) -> Float[np.ndarray, " words"]:
    """Compute, for each word, a quantile of its correlations with the features of encoders with random weights.

    Parameters
    ----------
    references : activations of several such encoders on the same images.
    quantile : over the features of all of them.
    """
    level = np.zeros(scores.shape[1])
    for start in range(0, scores.shape[1], WORDS_AT_ONCE):
        words = slice(start, start + WORDS_AT_ONCE)
        found = np.concatenate([correlations_with_words(copy, scores[:, words]) for copy in references])
        level[words] = np.quantile(found, quantile, axis=0)
    return level


def incidence(words: Sequence[Sequence[str]], vocabulary: np.ndarray) -> sparse.csr_array:
    """Mark the words of each row: sparse 0/1 (rows, words of the vocabulary)."""
    row = np.repeat(np.arange(len(words)), [len(own) for own in words])
    column = pd.Index(vocabulary).get_indexer([word for own in words for word in own])
    return sparse.csr_array((np.ones(len(row)), (row, column)), shape=(len(words), len(vocabulary)))


def words_of_others(
    word: Int[np.ndarray, " rows"], own: sparse.csr_array, generator: np.random.Generator
) -> Int[np.ndarray, " rows"]:
    """Draw, for each row, the first word of another row that is not among its own words: a control that can be right by chance only.

    Parameters
    ----------
    word : the first word of each row; -1 if there is none.
    own : words of each row's explanation, sparse 0/1 (rows, words).

    Returns
    -------
    (rows,) array
        Words; -1 where no row has another word. A word is drawn as often as it is a first word.
    """
    used, count = np.unique(word[word >= 0], return_counts=True)
    drawn = np.full(len(word), -1)
    for start in range(0, len(word) if len(used) else 0, FEATURES_AT_ONCE):
        rows = slice(start, start + FEATURES_AT_ONCE)
        excluded = own[rows][:, used].toarray() > 0
        # The largest of log count + Gumbel noise is a draw with these counts.
        keys = np.where(excluded, -np.inf, np.log(count) + generator.gumbel(size=excluded.shape))
        drawn[rows] = np.where(excluded.all(axis=1), -1, used[keys.argmax(axis=1)])
    return drawn


def p_values(
    excess: Float[np.ndarray, " features"], null: Float[np.ndarray, " null"]
) -> Float[np.ndarray, " features"]:
    """Compute the probability that a feature of an encoder with random weights exceeds its level by as much.

    ``p = (1 + #{null >= excess}) / (n + 1)``: the feature itself is counted, so no probability is 0.
    """
    ranked = np.sort(null)
    at_least = len(ranked) - np.searchsorted(ranked, excess, side="left")
    return (1 + at_least) / (len(ranked) + 1)
