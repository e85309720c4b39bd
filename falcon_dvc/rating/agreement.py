"""Statistics of human ratings: shares of choices with intervals, and agreement between the raters."""

from typing import NamedTuple

import krippendorff
import numpy as np
from jaxtyping import Float, Int
from numpy.random import Generator

MISSING = -1  # code of a unit that a rater did not rate


class Estimate(NamedTuple):
    """A value with its bootstrap interval."""

    value: float
    low: float
    high: float


def category_counts(ratings: Int[np.ndarray, "raters units"], categories: int) -> Int[np.ndarray, "units categories"]:
    """Count the raters who put each unit into each category; `MISSING` is not counted."""
    return (ratings[:, :, None] == np.arange(categories)).sum(axis=0)


def krippendorff_alpha(ratings: Int[np.ndarray, "raters units"]) -> float:
    """Measure the agreement of raters on nominal categories, corrected for chance.

    Parameters
    ----------
    ratings : category of each unit by each rater, from 0; `MISSING` for none.

    Returns
    -------
    1 for perfect agreement, 0 for agreement by chance, less for worse. NaN if no unit has two ratings, or if all
    ratings of such units are of one category.

    References
    ----------
    K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011).
    """
    return _alpha(_rated_twice(ratings))


def _rated_twice(ratings: np.ndarray) -> Int[np.ndarray, "units categories"]:
    """Count the categories of the units that have at least two ratings: the others have no pair to compare."""
    counts = category_counts(ratings, int(ratings.max(initial=MISSING)) + 1)
    return counts[counts.sum(axis=1) > 1]


def _alpha(counts: Int[np.ndarray, "units categories"]) -> float:
    """Compute alpha; the package raises an error or divides by zero where it is not defined."""
    if (counts.sum(axis=0) > 0).sum() < 2:
        return np.nan
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def estimated_alpha(
    ratings: Int[np.ndarray, "raters units"], samples: int, confidence: float, generator: Generator
) -> Estimate:
    """Estimate `krippendorff_alpha` with its percentile interval over units drawn with replacement.

    Draws without a defined alpha are left out. All three numbers are NaN if alpha of the ratings is not defined.
    """
    counts = _rated_twice(ratings)
    value = _alpha(counts)
    if not np.isfinite(value):
        return Estimate(np.nan, np.nan, np.nan)
    drawn = generator.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), samples)
    alphas = np.array([_alpha(np.repeat(counts, times, axis=0)) for times in drawn])
    return Estimate(value, *_percentiles(alphas[np.isfinite(alphas)], confidence, value))


def _percentiles(values: np.ndarray, confidence: float, default: float) -> tuple[float, float]:
    """Find the bounds of the central share `confidence` of the values; both are `default` if there is no value."""
    if not len(values):
        return default, default
    low, high = np.quantile(values, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def agreeing_pairs(
    counts: Int[np.ndarray, "units categories"],
) -> tuple[Int[np.ndarray, " units"], Int[np.ndarray, " units"]]:
    """Count, for each unit, the pairs of raters who chose the same category, and all pairs of raters."""
    rated = counts.sum(axis=1)
    return (counts * (counts - 1)).sum(axis=1) // 2, rated * (rated - 1) // 2


def clustered_ratio(
    part: Float[np.ndarray, " units"],
    whole: Float[np.ndarray, " units"],
    samples: int,
    confidence: float,
    generator: Generator,
) -> Estimate | None:
    """Estimate ``sum(part) / sum(whole)`` with its percentile interval over units drawn with replacement.

    Units are drawn, not ratings, because the ratings of one unit are correlated.

    Parameters
    ----------
    part, whole : counts of each unit, for example raters who chose an explanation and raters who answered.

    Returns
    -------
    None if `whole` is zero everywhere.
    """
    counted = whole > 0
    part, whole = part[counted], whole[counted]
    if not len(whole):
        return None
    drawn = generator.integers(0, len(whole), (samples, len(whole)))
    ratios = part[drawn].sum(axis=1) / whole[drawn].sum(axis=1)
    value = float(part.sum() / whole.sum())
    return Estimate(value, *_percentiles(ratios, confidence, value))


def by_method(
    counts: Int[np.ndarray, "units letters"], positions: Int[np.ndarray, "units methods"]
) -> Int[np.ndarray, "units methods"]:
    """Count the raters who chose each method, from the counts of each letter.

    Parameters
    ----------
    counts : how often each letter of each unit was chosen.
    positions : the letter of each method, from 0.
    """
    return np.take_along_axis(counts, positions, axis=1)


def paired_with_other_units(
    counts: Int[np.ndarray, "units letters"], position: Int[np.ndarray, " units"]
) -> Float[np.ndarray, " units"]:
    """Compute how often a method would be chosen if the choices belonged to another unit, drawn at random.

    This null control accounts for raters' habits. A rater who always takes the first letter chooses the method as
    often as it has the first letter.

    Parameters
    ----------
    counts : how often each letter of each unit was chosen.
    position : the letter of the method, from 0.
    """
    return counts @ (position[:, None] == np.arange(counts.shape[1])).mean(axis=0)
