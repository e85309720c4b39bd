"""Measure held-out selectivity: how well a concept predicts a feature's activation on images not used to find it.

There are four measures. Pearson correlation and average precision (AUPRC) fall when labels are missing and when false
labels are added. AUC and MAD do not react to one of the two (NeuronEval, ICML 2025). They are reported for comparison
and decide nothing.
"""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from falcon_dvc.evaluation.statistics import correlations

Activations = Float[np.ndarray, "images features"]
Labels = Bool[np.ndarray, "images concepts"]
PerPair = Float[np.ndarray, "features concepts"]

TIE = 0.05  # a first word that follows the feature by so much less than the truth is as good
CONSTANT = 1e-12  # a variance (a difference of sums) below this share of the mean square is rounding


def pearson(activations: Activations, labels: Labels) -> PerPair:
    """Compute the Pearson correlation of every feature with every concept, in [-1, 1]; 0 where either is constant."""
    return correlations(activations, labels)


def auc(activations: Activations, labels: Labels) -> PerPair:
    """Compute the probability that an image with the concept activates the feature more than one without it.

    Ties count half. One product of ranks R and labels L gives all pairs: ``(R'L - n1 (n1 + 1) / 2) / (n1 n0)``. The
    value is 0.5 where a concept is on all or no images.
    """
    ranks = (
        pd.DataFrame(activations).rank().to_numpy()
    )  # the result of scipy.stats.rankdata, without its import of one second
    having, lacking = _counts(labels)
    pairs = having * lacking
    above = ranks.T @ labels.astype(np.float64) - having * (having + 1) / 2
    return np.divide(above, pairs, out=np.full(above.shape, 0.5), where=pairs > 0)


def mean_activation_difference(activations: Activations, labels: Labels) -> PerPair:
    """Compute MAD: the mean activation with the concept minus the mean without it.

    The unit is the standard deviation of the activations without the concept. The value is 0 where a concept is on all
    or no images. It is also 0 where the activations without the concept are constant.
    """
    activations, marks = activations.astype(np.float64), labels.astype(np.float64)
    activations = activations - activations.mean(axis=0)
    having, lacking = _counts(labels)
    within = activations.T @ marks
    without = activations.sum(axis=0)[:, None] - within
    total = np.square(activations).sum(axis=0)[:, None]
    squares = total - np.square(activations).T @ marks
    centre = without / np.maximum(lacking, 1)
    variance = np.maximum(squares / np.maximum(lacking, 1) - np.square(centre), 0)
    spread = np.sqrt(variance)
    difference = within / np.maximum(having, 1) - centre
    known = (having > 0) & (lacking > 0) & (variance > CONSTANT * total / np.maximum(lacking, 1))
    return np.divide(difference, spread, out=np.zeros_like(difference), where=known)


def average_precision(
    activations: Float[np.ndarray, "images pairs"], labels: Bool[np.ndarray, "images pairs"]
) -> Float[np.ndarray, " pairs"]:
    """Compute AUPRC of matched columns: the mean precision at the images with the concept, ranked by activation.

    Images with the same activation share the precision at the end of their tie. So their order has no effect. The
    value is 0 where no image has the concept. Memory: a few arrays of the size of the input.
    """
    order = np.argsort(-activations, axis=0, kind="stable")
    ranked = np.take_along_axis(activations, order, axis=0)
    marks = np.take_along_axis(labels, order, axis=0).astype(np.float64)
    place = np.arange(1, len(ranked) + 1)[:, None]
    precision = np.cumsum(marks, axis=0) / place
    return (marks * np.take_along_axis(precision, _ends_of_ties(ranked), axis=0)).sum(axis=0) / np.maximum(
        marks.sum(axis=0), 1
    )


def _ends_of_ties(ranked: np.ndarray) -> np.ndarray:
    """Find the row of the last entry of each entry's tie, in columns sorted from large to small."""
    last = np.ones(ranked.shape, dtype=bool)
    last[:-1] = ranked[:-1] != ranked[1:]
    rows = np.where(last, np.arange(len(ranked))[:, None], len(ranked))
    return np.minimum.accumulate(rows[::-1], axis=0)[::-1]


def _counts(labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    """Count the images with and without each concept."""
    having = labels.sum(axis=0).astype(np.float64)
    return having, len(labels) - having


def right_or_tied(
    right: Bool[np.ndarray, " features"],
    of_truth: Float[np.ndarray, " features"],
    of_word: Float[np.ndarray, " features"],
) -> Bool[np.ndarray, " features"]:
    """Find the features whose first word is right, or follows the feature by at most `TIE` less than the truth.

    Two attributes can describe a feature equally well.

    Parameters
    ----------
    right : whether the first word names the truth.
    of_truth, of_word : held-out correlation of the feature with its truth, and with its first word; NaN for a word that
        names no attribute.
    """
    return right | (of_truth - of_word <= TIE)
