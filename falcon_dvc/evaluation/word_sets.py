"""Choose the words that together predict a feature: a forward selection for all features at once.

The scores ``s_x(w)`` of whole images predict the activation of a feature by least squares. Words are chosen, and their
coefficients fitted, on one half of the probe images. A word counts if it raises R² on the other half by a least gain. So
the number of words that count is the number of things that the feature follows. R² is reported on held-out images.

Least squares needs only sums over images, of products of columns (`Sums`). So a step costs the same for any number of
images, and all features take their steps together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from falcon_dvc.evaluation.faithfulness import correlations_with_words
from falcon_dvc.evaluation.statistics import standardised

FEATURES_AT_ONCE = 64  # features whose sums are in memory
DEPENDENT = 1e-9  # a word with less than this share of its variance left is a combination of the chosen ones
DECIMALS = 10  # of a share of variance: what the order of the images does not change

Activations = Float[np.ndarray, "images features"]
PerStep = Float[np.ndarray, "features steps"]


@dataclass(frozen=True)
class Division:
    """Hold which images choose words, judge their gain, and are held out: rows of images."""

    fit: Int[np.ndarray, " fit"]
    judge: Int[np.ndarray, " judge"]
    heldout: Int[np.ndarray, " heldout"]


@dataclass(frozen=True)
class WordSets:
    """Hold the words that predict each feature, the best first.

    Attributes
    ----------
    words : numbers of words; -1 if no further word raises the fit.
    count : number of words that count: the first ones, as long as each gains enough.
    r2 : R² on held-out images after each word; NaN if no image is held out.
    """

    words: Int[np.ndarray, "features steps"]
    count: Int[np.ndarray, " features"]
    r2: PerStep


@dataclass(frozen=True)
class Sums:
    """Hold sums over images of products of columns. Column 0 is the constant 1, the others are a feature's candidates.

    Attributes
    ----------
    gram : products of two columns.
    cross : products of a column and the activation.
    square : squares of the activation.
    """

    gram: Float[np.ndarray, "features columns columns"]
    cross: Float[np.ndarray, "features columns"]
    square: Float[np.ndarray, " features"]

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.gram + other.gram, self.cross + other.cross, self.square + other.square)


def word_sets(
    activations: Activations,
    scores: sparse.csr_array,
    division: Division,
    steps: int,
    candidates: int,
    least_gain: float,
) -> WordSets:
    """Choose at most `steps` words for each feature.

    Parameters
    ----------
    activations, scores : of the same images; scores are sparse (images, words).
    division : rows of the images that choose, judge and are held out.
    candidates : number of words that may be chosen for a feature: those that correlate most with it.
    least_gain : least gain in R² on the judging images of a word that counts.
    """
    blocks = [
        _word_sets(activations[:, start : start + FEATURES_AT_ONCE], scores, division, steps, candidates, least_gain)
        for start in range(0, max(activations.shape[1], 1), FEATURES_AT_ONCE)
    ]
    return WordSets(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


def _word_sets(
    activations: np.ndarray,
    scores: sparse.csr_array,
    division: Division,
    steps: int,
    candidates: int,
    least_gain: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose the words of a block of features: words, their number, and R² on held-out images."""
    standard = standardised(activations)
    words = likely_words(standard[division.fit], scores[division.fit], candidates)
    fit, judge, heldout = (
        sums_over(standard[rows], scores[rows], words) for rows in (division.fit, division.judge, division.heldout)
    )
    columns = forward(fit, steps)
    count = counted(np.diff(r2(fit, judge, columns), axis=1, prepend=0), least_gain)
    word_of_column = np.column_stack([np.full(len(words), -1), words])
    chosen = np.take_along_axis(word_of_column, np.maximum(columns, 0), axis=1)
    return chosen, count, r2(fit + judge, heldout, columns)


def counted(gain: PerStep, least: float) -> Int[np.ndarray, " features"]:
    """Count the first steps whose gain is at least `least`, up to the first that gains less."""
    return np.logical_and.accumulate(np.round(gain, DECIMALS) >= least, axis=1).sum(axis=1)


def likely_words(
    activations: np.ndarray, scores: sparse.csr_array, count: int, sign: int = 1
) -> Int[np.ndarray, "features candidates"]:
    """Find the words whose correlation with each feature, times `sign`, is largest, in ascending order of their numbers."""
    correlation = np.round(sign * correlations_with_words(activations, sparse.csc_array(scores)), DECIMALS)
    return np.sort(np.argsort(-correlation, axis=1, kind="stable")[:, :count], axis=1)


def sums_over(activations: np.ndarray, scores: sparse.csr_array, words: Int[np.ndarray, "features candidates"]) -> Sums:
    """Sum over images, for each feature with its candidates."""
    used, place = np.unique(words, return_inverse=True)
    table = sparse.hstack([np.ones((len(activations), 1)), scores[:, used]], format="csr")
    column = np.column_stack([np.zeros(len(words), dtype=int), place.reshape(words.shape) + 1])
    gram, cross = (table.T @ table).toarray(), (table.T @ activations).T
    return Sums(
        gram[column[:, :, None], column[:, None, :]],
        np.take_along_axis(cross, column, axis=1),
        np.square(activations).sum(axis=0),
    )


def forward(
    fit: Sums, steps: int, known: Int[np.ndarray, "features known"] | None = None, sign: int = 1
) -> Int[np.ndarray, "features steps"]:
    """Choose for each feature the column that explains most of the rest with one sign, `steps` times.

    What the chosen columns explain is removed from all others, so each step compares gains.

    Parameters
    ----------
    known : columns that are chosen already; -1 for none.
    sign : of the coefficient of a column that may be chosen: 1 or -1.

    Returns
    -------
    Numbers of columns, from 1; -1 if no column explains anything.
    """
    own = np.einsum("fcc->fc", fit.gram)
    every = np.arange(len(own))
    gram, cross = _without(fit.gram, fit.cross, np.zeros(len(own), dtype=int), every)
    for column in () if known is None else known.T:
        gram, cross = _without(gram, cross, column, np.flatnonzero(column >= 0))
    chosen = np.full((len(own), steps), -1)
    for step in range(steps):
        left = np.einsum("fcc->fc", gram)
        usable = (left > DEPENDENT * own) & (sign * cross > 0)
        gain = np.divide(cross**2, left, out=np.zeros_like(cross), where=usable)
        share = np.round(gain / np.maximum(fit.square, 1e-300)[:, None], DECIMALS)
        best = share.argmax(axis=1)
        found = np.flatnonzero(share[every, best] > 0)
        chosen[found, step] = best[found]
        gram, cross = _without(gram, cross, best, found)
    return chosen


def _without(
    gram: np.ndarray, cross: np.ndarray, column: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Remove from all columns of the features in `rows` what one column explains (a step of Gram-Schmidt)."""
    gram, cross = gram.copy(), cross.copy()
    products = gram[rows, :, column[rows]]
    shares = products / products[np.arange(len(rows)), column[rows]][:, None]
    gram[rows] -= shares[:, :, None] * products[:, None, :]
    cross[rows] -= shares * cross[rows, column[rows]][:, None]
    return gram, cross


def r2(fit: Sums, judge: Sums, columns: Int[np.ndarray, "features steps"]) -> PerStep:
    """Compute R² on the images of `judge` after each step, with coefficients from those of `fit`.

    R² is 1 less the squared error over the squared deviation from the mean. It is negative if the mean predicts better, 0
    for a constant feature, and NaN without images.
    """
    count, total = judge.gram[:, 0, 0], judge.cross[:, 0]
    deviation = judge.square - total**2 / np.maximum(count, 1)
    explained = np.stack(
        [_r2(fit, judge, columns[:, : step + 1], deviation) for step in range(columns.shape[1])], axis=1
    )
    return np.where(count[:, None] > 0, explained, np.nan)


def _r2(fit: Sums, judge: Sums, columns: np.ndarray, deviation: np.ndarray) -> Float[np.ndarray, " features"]:
    """Compute R² with the constant and the columns of one step."""
    columns, coefficients = with_coefficients(fit, columns)
    gram, cross = _selected(judge, columns)
    fitted = np.einsum("fc,fcd,fd->f", coefficients, gram, coefficients)
    error = judge.square - 2 * np.einsum("fc,fc->f", coefficients, cross) + fitted
    known = deviation > DEPENDENT * judge.square
    return 1 - np.divide(error, deviation, out=np.ones_like(error), where=known)


def with_coefficients(
    fit: Sums, columns: Int[np.ndarray, "features chosen"]
) -> tuple[Int[np.ndarray, "features all"], Float[np.ndarray, "features all"]]:
    """Fit the constant (column 0, first) and the chosen columns; a missing column (-1) has the coefficient 0.

    Returns
    -------
    The columns with the constant, and their coefficients.
    """
    columns = np.column_stack([np.zeros(len(columns), dtype=int), columns])
    gram, cross = _selected(fit, columns)
    return columns, np.linalg.solve(gram, cross[:, :, None])[:, :, 0]


def _selected(sums: Sums, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Select the sums of chosen columns; a missing column (-1) has the coefficient 0."""
    missing, columns = columns < 0, np.maximum(columns, 0)
    feature = np.arange(len(columns))[:, None]
    gram = sums.gram[feature[:, :, None], columns[:, :, None], columns[:, None, :]]
    either = missing[:, :, None] | missing[:, None, :]
    gram = np.where(either, np.eye(columns.shape[1]) * missing[:, :, None], gram)
    return gram, np.where(missing, 0, sums.cross[feature, columns])


def permuted(activations: Activations, division: Division, generator: np.random.Generator) -> Activations:
    """Shuffle the images of all features alike, within each part of the images: a control without any relation."""
    shuffled = activations.copy()
    for rows in (division.fit, division.judge, division.heldout):
        shuffled[rows] = activations[generator.permutation(rows)]
    return shuffled


def divided(order: Int[np.ndarray, " images"], probe: Bool[np.ndarray, " images"]) -> Division:
    """Divide the probe images into two halves; the rest is held out.

    Parameters
    ----------
    order : a number for each image that does not depend on its place, for instance a hash of its name.
    """
    rows = np.flatnonzero(probe)
    rows = rows[np.argsort(order[rows], kind="stable")]
    return Division(rows[::2], rows[1::2], np.flatnonzero(~probe))
