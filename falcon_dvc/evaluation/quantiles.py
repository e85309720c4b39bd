"""Measure whether the first word of a feature holds below its maximum: the score of the word by quantile of the activation.

The images are divided for each feature by its activation: the ten deciles of the values above 0, and the rest (`deciles_of`).
A label that holds everywhere scores alike in all deciles, and less where the feature does not fire. Each function treats a
block of features at once, and reads scores and labels from sparse matrices.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Int8
from scipy import sparse
from scipy.special import ndtri

from falcon_dvc.activations.parts import DECILES, OFF, PARTS

ROUNDING = 1e-12  # of a mean that reaches the ends of its range

Deciles = Int8[np.ndarray, "images features"]
ByDecile = Float[np.ndarray, "features deciles"]


def deciles_of(activations: Float[np.ndarray, "images features"]) -> Deciles:
    """Divide the images of each feature by its activation.

    Returns
    -------
    (images, features) array
        0 for the largest tenth of the values above 0, 9 for the smallest, and `OFF` for values of 0 and below. Equal values
        are in one decile, the highest of theirs. So the order of the images has no effect.
    """
    order = np.argsort(-activations, axis=0, kind="stable")
    ranked = np.take_along_axis(activations, order, axis=0)
    place = np.arange(len(activations))[:, None]
    begins = np.ones(activations.shape, dtype=bool)
    begins[1:] = ranked[1:] != ranked[:-1]
    first = np.maximum.accumulate(np.where(begins, place, 0), axis=0)
    fires = np.count_nonzero(ranked > 0, axis=0)
    decile = np.where(ranked > 0, first * DECILES // np.maximum(fires, 1), OFF).astype(np.int8)
    placed = np.empty_like(decile)
    np.put_along_axis(placed, order, decile, axis=0)
    return placed


def counts_by_decile(decile: Deciles) -> ByDecile:
    """Count the images of each decile, and those that do not activate the feature (last column)."""
    features = decile.shape[1]
    place = decile + np.arange(features) * (OFF + 1)
    return np.bincount(place.reshape(-1), minlength=features * (OFF + 1)).reshape(features, OFF + 1).astype(np.float64)


def sums_by_decile(decile: Deciles, values: sparse.csc_array) -> ByDecile:
    """Sum a value of the images over each decile, and over those that do not activate the feature (last column).

    Parameters
    ----------
    values : sparse (images, features), for instance the score of each feature's first word. Only its entries are read.
    """
    features = decile.shape[1]
    column = np.repeat(np.arange(features), np.diff(values.indptr))
    place = decile[values.indices, column] + column * (OFF + 1)
    return np.bincount(place, weights=values.data, minlength=features * (OFF + 1)).reshape(features, OFF + 1)


def in_parts(by_decile: ByDecile) -> Float[np.ndarray, "features parts"]:
    """Add the deciles of each of `PARTS`."""
    return np.stack([by_decile[:, first:last].sum(axis=1) for first, last in PARTS.values()], axis=1)


def words_of_parts(
    decile: Deciles, scores: sparse.csr_array, count: int
) -> dict[str, Int[np.ndarray, "features words"]]:
    """Find the words whose mean score in each of `PARTS` exceeds their mean over all images most.

    Parameters
    ----------
    scores : sparse (images, words).
    count : number of words of a part.

    Returns
    -------
    dict of str to array
        Numbers of words of each part, the best first; -1 where no further word exceeds its mean. Of equal words the first
        comes first.
    """
    everywhere = np.asarray(scores.mean(axis=0)).reshape(-1)
    found = {}
    for part, (first, last) in PARTS.items():
        within = (decile >= first) & (decile < last)
        sums = (sparse.csr_array(within.T.astype(np.float64)) @ scores).toarray()
        above = np.round(mean_of(sums, np.repeat(within.sum(axis=0)[:, None], sums.shape[1], axis=1)) - everywhere, 12)
        order = np.argsort(-above, axis=1, kind="stable")[:, :count]
        found[part] = np.where(np.take_along_axis(above, order, axis=1) > 0, order, -1)
    return found


def mean_of(sums: Float[np.ndarray, "*shape"], counts: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Divide sums by numbers of images; NaN where there is no image."""
    return np.divide(sums, counts, out=np.full(np.shape(sums), np.nan), where=np.asarray(counts) > 0)


def interval_of_means(
    means: Float[np.ndarray, "*shape"], counts: Float[np.ndarray, "*shape"], confidence: float
) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
    """Compute Wilson's interval of the mean of values between 0 and 1; NaN without values.

    It is that of a share. Other values between 0 and 1 with the same mean vary less, so it is wide enough for them too.
    """
    spread = ndtri(0.5 + confidence / 2) ** 2
    counts = np.where(np.asarray(counts) > 0, counts, np.nan)
    centre = (means * counts + spread / 2) / (counts + spread)
    variance = np.maximum(means * (1 - means), 0.0) * counts
    reach = np.sqrt(spread * (variance + spread / 4)) / (counts + spread)
    return np.clip(centre - reach, 0.0, means), np.clip(centre + reach, means, 1.0)  # rounding leaves neither side


def holds_to(low: ByDecile, chance: Float[np.ndarray, " features"]) -> Float[np.ndarray, " features"]:
    """Return the percentile of the activations above 0 down to which a word holds.

    A decile holds if the lower end of its interval is above the mean over all images. All deciles above it must hold too;
    one without images (few images fire, or many values are equal) is skipped.

    Parameters
    ----------
    low : (features, 10)
        Lower ends of the intervals of the deciles, NaN without images.

    Returns
    -------
    (features,) array
        100 if not even the top decile holds, 0 if all do.
    """
    fails = ~(low > chance[:, None] + ROUNDING) & ~np.isnan(low)
    holding = np.cumprod(~fails, axis=1)
    known = holding.astype(bool) & ~np.isnan(low)
    failed = fails.any(axis=1)
    last = np.where(known.any(axis=1), DECILES - np.argmax(known[:, ::-1], axis=1), 0)
    lowest = np.where(failed, last, np.where(known.any(axis=1), DECILES, 0))
    return 100.0 * (DECILES - lowest) / DECILES


def spread_examples(
    activations: Float[np.ndarray, "images features"], decile: Deciles, part: str, count: int
) -> Int[np.ndarray, "features examples"]:
    """Choose images of a part, evenly spread over its activations, the strongest first; -1 where there are fewer.

    Of equal activations, the first image counts.
    """
    first, last = PARTS[part]
    within = (decile >= first) & (decile < last)
    order = np.argsort(np.where(within, -activations, np.inf), axis=0, kind="stable")
    sizes = within.sum(axis=0)[:, None]
    wanted = np.minimum(sizes, count)
    place = (2 * np.arange(count) + 1) * sizes // np.maximum(2 * wanted, 1)
    rows = np.take_along_axis(order, np.minimum(place, len(order) - 1).T, axis=0).T
    return np.where(np.arange(count) < wanted, rows, -1)
