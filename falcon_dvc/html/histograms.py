"""Histograms of the activations of groups, and neighbours by the correlation of activations."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from falcon_dvc.members import incidence
from falcon_dvc.progress import track

BINS = 40
MOST_IMAGES = 10_000  # for a correlation: more images do not change its second digit
GROUPS_AT_ONCE = 512  # two blocks of groups are in memory together
Members = Sequence[Sequence[int]]
Activations = Float[np.ndarray, "images features"]


@dataclass(frozen=True)
class Histogram:
    """Counts of images by the value of a group, without those on which it is 0.

    Attributes
    ----------
    counts : images in each of `BINS` bins of equal width from `low` to `high`.
    threshold : the group fires on values from here on; None if it is not known.
    relative : whether the value is the smallest ratio of a member's activation to its threshold.
    zeros : images on which the value is 0; they are among the counts if it is 0 on all.
    images : number of all images.
    """

    counts: list[int]
    low: float
    high: float
    threshold: float | None
    relative: bool
    zeros: int = 0
    images: int = 0

    @property
    def frequency(self) -> float:
        """Share of the images on which the value is not 0."""
        return 1 - self.zeros / max(self.images, 1)

    @property
    def log10_frequency(self) -> float:
        """Logarithm of the frequency; NaN if the value is 0 on all images."""
        return math.log10(self.frequency) if self.frequency else math.nan


def histogram(normalised: Activations, thresholds: Float[np.ndarray, " features"], members: Sequence[int]) -> Histogram:
    """Compute the histogram of a feature or group; a group fires where each member reaches its threshold."""
    columns, threshold = normalised[:, members], thresholds[members]
    relative = len(members) > 1 and bool((np.isfinite(threshold) & (threshold > 0)).all())
    values = (columns / threshold).min(axis=1) if relative else columns.mean(axis=1)
    fires_from = 1.0 if relative else float(threshold[0]) if len(members) == 1 and np.isfinite(threshold[0]) else None
    drawn = values[values != 0] if values.any() else values
    low, high = float(drawn.min()), float(drawn.max())
    high = high if high > low else low + 1.0
    counts, _ = np.histogram(drawn, bins=BINS, range=(low, high))
    zeros = len(values) - int(np.count_nonzero(values))
    return Histogram(counts.tolist(), low, high, fires_from, relative, zeros, len(values))


def standardised(normalised: Activations, members: Members) -> Float[np.ndarray, "groups images"]:
    """Standardise the activation of each group, the mean of its members, to mean 0 and length 1 over the images.

    A constant activation becomes 0.
    """
    groups = incidence(members, normalised.shape[1]).astype(np.float32)
    values = (groups @ normalised.T.astype(np.float32, copy=False)) / groups.sum(axis=1)[:, None]
    values -= values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, length, out=np.zeros_like(values), where=length > 1e-6)


def sampled(rows: Int[np.ndarray, " images"]) -> Int[np.ndarray, " sample"]:
    """Choose the images for the correlations, evenly spaced."""
    count = min(len(rows), MOST_IMAGES)
    return rows[np.linspace(0, len(rows) - 1, count).astype(int)] if count else rows


@dataclass(frozen=True)
class Space:
    """The groups of an encoder, and its features on the sampled images; columns are read, so store them one after the other."""

    normalised: Activations
    members: Members


def neighbours(of: Space, among: Space, count: int, same: bool) -> tuple[np.ndarray, np.ndarray]:
    """Find the groups of one encoder with the highest correlations with each group of another, or of the same.

    Parameters
    ----------
    same : whether both are the same encoder; then groups that share a feature are left out.

    Returns
    -------
    indices, correlations : groups of `of` x `count`, the most correlated first; index -1 where there are fewer.
    """
    blocks = [_best(of, block, among, count, same) for block in track(list(_blocks(len(of.members))), "Neighbours")]
    return np.concatenate([block[0] for block in blocks]), np.concatenate([block[1] for block in blocks])


def _blocks(length: int) -> Iterator[slice]:
    return (slice(start, min(start + GROUPS_AT_ONCE, length)) for start in range(0, length, GROUPS_AT_ONCE))


def _best(of: Space, block: slice, among: Space, count: int, same: bool) -> tuple[np.ndarray, np.ndarray]:
    """Find the neighbours of a block of groups, one block of candidates after the other."""
    own = standardised(of.normalised, of.members[block])
    width = among.normalised.shape[1]
    index = np.full((len(own), count), -1)
    best = np.full((len(own), count), -np.inf)
    for other in _blocks(len(among.members)):
        # Rounded, so that the order does not depend on the last bits of a sum.
        correlation = (own @ standardised(among.normalised, among.members[other]).T).round(4)
        if same:
            correlation[_overlapping(of.members[block], among.members[other], width)] = -np.inf
        columns = np.broadcast_to(np.arange(other.start, other.stop), correlation.shape)
        index, best = _merged(np.hstack([index, columns]), np.hstack([best, correlation]), count)
    return np.where(np.isfinite(best), index, -1), best


def _overlapping(first: Members, second: Members, width: int) -> np.ndarray:
    """Find the pairs of groups that share a feature."""
    return (incidence(first, width) @ incidence(second, width).T).toarray() > 0


def _merged(index: np.ndarray, values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the `count` largest values of each row, with their indices."""
    order = np.argsort(-values, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(index, order, axis=1), np.take_along_axis(values, order, axis=1)
