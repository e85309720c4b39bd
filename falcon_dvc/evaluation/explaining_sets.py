"""Turn the words that predict a feature into its explanation: gains with intervals, "not", and "and" against "or".

The words that count (`word_sets`) raise the feature. Words that lower it are added if they raise R² by as much. Two words
that raise it are joined by "and" if the feature follows what both have in common better than either of them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse
from scipy.special import ndtri

from falcon_dvc.evaluation.statistics import standardised
from falcon_dvc.evaluation.word_sets import (
    DEPENDENT,
    FEATURES_AT_ONCE,
    Activations,
    Division,
    Sums,
    WordSets,
    counted,
    forward,
    likely_words,
    r2,
    sums_over,
    with_coefficients,
)

PAIRS_AT_ONCE = 64  # pairs of words whose common scores are in memory


@dataclass(frozen=True)
class ExplainingSets:
    """Hold the words of each feature's explanation: those that raise it, then those that lower it.

    Attributes
    ----------
    words : numbers of words; -1 where there are no more.
    direction : 1 for a word that raises the feature, -1 for one that lowers it, 0 where there is no word.
    gain : what each word adds to R² on the judging images, after the words before it; NaN where there is no word.
    low, high : interval of the gain over the judging images.
    together : whether two words raise the feature only together; symmetric, False for words that lower it.
    r2 : R² of all words on held-out images; NaN if no image is held out.
    """

    words: Int[np.ndarray, "features steps"]
    direction: Int[np.ndarray, "features steps"]
    gain: Float[np.ndarray, "features steps"]
    low: Float[np.ndarray, "features steps"]
    high: Float[np.ndarray, "features steps"]
    together: Bool[np.ndarray, "features steps steps"]
    r2: Float[np.ndarray, " features"]


@dataclass(frozen=True)
class _Images:
    """Hold a block of features on all images, with the scores of words; the last word is one that no image has."""

    values: Activations
    scores: sparse.csr_array
    division: Division


def explaining_sets(
    activations: Activations,
    scores: sparse.csr_array,
    division: Division,
    sets: WordSets,
    candidates: int,
    least_gain: float,
    confidence: float,
) -> ExplainingSets:
    """Explain each feature by the words that count, and by those that lower it.

    Parameters
    ----------
    activations, scores, division, candidates : those from which `sets` were chosen.
    sets : the words that predict each feature. An explanation has at most as many words as they have steps.
    least_gain : least gain in R² of a word that lowers the feature, and of "and" over "or".
    confidence : of the intervals of gains.
    """
    scores = sparse.hstack([scores, sparse.csr_array((scores.shape[0], 1))], format="csr")
    starts = range(0, max(len(sets.words), 1), FEATURES_AT_ONCE)
    blocks = []
    for block in (slice(start, start + FEATURES_AT_ONCE) for start in starts):
        images = _Images(standardised(activations[:, block]), scores, division)
        known = np.where(np.arange(sets.words.shape[1]) < sets.count[block, None], sets.words[block], -1)
        blocks.append(_explained(images, known, candidates, least_gain, confidence))
    return ExplainingSets(
        *(np.concatenate([getattr(block, field.name) for block in blocks]) for field in fields(ExplainingSets))
    )


def _explained(
    images: _Images, known: Int[np.ndarray, "features steps"], candidates: int, least_gain: float, confidence: float
) -> ExplainingSets:
    """Explain a block of features."""
    words, direction = _with_opposed(images, known, candidates, least_gain)
    none = images.scores.shape[1] - 1
    fit, judge, heldout = _parts(images, np.where(words < 0, none, words))
    columns = np.where(words < 0, -1, np.arange(1, words.shape[1] + 1))
    gain, low, high = _gains(images, fit, words, columns, confidence)
    together = _together(images, np.where(direction > 0, words, -1), least_gain)
    return ExplainingSets(words, direction, gain, low, high, together, r2(fit + judge, heldout, columns)[:, -1])


def _parts(images: _Images, words: Int[np.ndarray, "features words"]) -> tuple[Sums, Sums, Sums]:
    """Sum over the images that fit, judge, and are held out."""
    division = images.division
    fit, judge, heldout = (
        sums_over(images.values[rows], images.scores[rows], words)
        for rows in (division.fit, division.judge, division.heldout)
    )
    return fit, judge, heldout


def _with_opposed(
    images: _Images, known: np.ndarray, candidates: int, least_gain: float
) -> tuple[Int[np.ndarray, "features steps"], Int[np.ndarray, "features steps"]]:
    """Add words that lower the features after those that raise them: words and their directions."""
    fitting, steps = images.division.fit, known.shape[1]
    opposed = likely_words(images.values[fitting], images.scores[fitting], candidates, sign=-1)
    words = np.where(known < 0, images.scores.shape[1] - 1, known)
    words = np.column_stack([words, opposed])
    fit, judge, _ = _parts(images, words)
    first = np.where(known < 0, -1, np.arange(1, steps + 1))
    columns = np.column_stack([first, forward(fit, steps, first, sign=-1)])
    explained = r2(fit, judge, columns)[:, steps - 1 :]
    explained[(first < 0).all(axis=1), 0] = 0  # as the first of the words that raise a feature
    count = counted(np.diff(explained, axis=1), least_gain)
    columns[:, steps:][np.arange(steps) >= count[:, None]] = -1
    order = np.argsort(columns < 0, axis=1, kind="stable")[:, :steps]
    chosen = np.take_along_axis(columns, order, axis=1)
    direction = np.where(chosen < 0, 0, np.where(chosen <= steps, 1, -1))
    return np.where(chosen < 0, -1, np.take_along_axis(words, np.maximum(chosen - 1, 0), axis=1)), direction


def _gains(
    images: _Images, fit: Sums, words: np.ndarray, columns: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute what each word adds to R² on the judging images, with an interval over these images.

    The gain is a ratio of means over images: of what the word takes off the squared error, and of the squared deviation
    from the mean. Its standard error is that of the linearised ratio (the delta method). The first word is compared with
    the mean, as R² is.
    """
    rows = images.division.judge
    values, scores = images.values[rows], images.scores[rows]
    deviation = np.square(values - values.mean(axis=0))
    before, found = deviation, []
    for step in range(1, words.shape[1] + 1):
        after = np.square(values - _fitted(fit, scores, words, columns[:, :step]))
        found.append(_ratio(before - after, deviation))
        before = after
    gain, error = (np.where(words >= 0, np.stack(part, axis=1), np.nan) for part in zip(*found, strict=True))
    reach = ndtri(0.5 + confidence / 2) * error
    return gain, gain - reach, gain + reach


def _fitted(fit: Sums, scores: sparse.csr_array, words: np.ndarray, columns: np.ndarray) -> Activations:
    """Predict the features by the first words, with coefficients from the images that fit."""
    _, coefficients = with_coefficients(fit, columns)
    feature, place = np.nonzero(columns >= 0)
    weights = sparse.csr_array(
        (coefficients[feature, place + 1], (words[feature, place], feature)), shape=(scores.shape[1], len(words))
    )
    return (scores @ weights).toarray() + coefficients[:, 0]


def _ratio(
    part: np.ndarray, whole: np.ndarray
) -> tuple[Float[np.ndarray, " features"], Float[np.ndarray, " features"]]:
    """Compute the ratio of the sums of two quantities over images (rows), and its standard error."""
    total = whole.sum(axis=0)
    known = total > DEPENDENT * len(whole)
    ratio = np.divide(part.sum(axis=0), total, out=np.zeros_like(total), where=known)
    error = np.sqrt(np.square(part - ratio * whole).sum(axis=0))
    return ratio, np.divide(error, total, out=np.zeros_like(total), where=known)


# ---- "and" against "or"


def _together(
    images: _Images, words: Int[np.ndarray, "features steps"], least_gain: float
) -> Bool[np.ndarray, "features steps steps"]:
    """Find the pairs of words that a feature follows only together."""
    first, second = np.triu_indices(words.shape[1], 1)
    feature, pair = np.nonzero((words[:, first] >= 0) & (words[:, second] >= 0))
    one, other = first[pair], second[pair]
    together = np.zeros((*words.shape, words.shape[1]), dtype=bool)
    for start in range(0, len(feature), PAIRS_AT_ONCE):
        some = slice(start, start + PAIRS_AT_ONCE)
        of = feature[some]
        advantage = _advantage_of_and(images, of, words[of, one[some]], words[of, other[some]])
        together[of, one[some], other[some]] = advantage >= least_gain
    return together | together.transpose(0, 2, 1)


def _advantage_of_and(
    images: _Images,
    feature: Int[np.ndarray, " pairs"],
    first: Int[np.ndarray, " pairs"],
    second: Int[np.ndarray, " pairs"],
) -> Float[np.ndarray, " pairs"]:
    """Compute how much better the common score of two words predicts a feature than their largest score and their sum.

    R² on the judging images. Each prediction has one coefficient, so none has an advantage of its own.
    """
    one, other = images.scores[:, first], images.scores[:, second]
    both, largest, total = (
        _r2_of_columns(images, feature, columns)
        for columns in (one.multiply(other).sqrt(), one.maximum(other), one + other)
    )
    return both - np.maximum(largest, total)


def _r2_of_columns(images: _Images, feature: np.ndarray, columns: sparse.sparray) -> Float[np.ndarray, " pairs"]:
    """Compute R² of features predicted by a column each; 0 for a column that is constant where it is fitted."""
    fit, judge = (
        _sums_of_columns(images.values[rows][:, feature], sparse.csc_array(columns[rows]))
        for rows in (images.division.fit, images.division.judge)
    )
    count, total, square = fit.gram[:, 0, 0], fit.gram[:, 0, 1], fit.gram[:, 1, 1]
    varies = square - total**2 / np.maximum(count, 1) > DEPENDENT * square
    return r2(fit, judge, np.where(varies, 1, -1)[:, None])[:, 0]


def _sums_of_columns(values: Activations, columns: sparse.csc_array) -> Sums:
    """Sum over images the products of the constant, of one column for each feature, and of the feature."""
    total, square = columns.sum(axis=0), columns.power(2).sum(axis=0)
    cross = columns.multiply(values).sum(axis=0)
    count = np.full(len(total), float(len(values)))
    gram = np.stack([np.stack([count, total], axis=1), np.stack([total, square], axis=1)], axis=1)
    return Sums(gram, np.stack([values.sum(axis=0), cross], axis=1), np.square(values).sum(axis=0))
