"""How groups act on the explained images: histograms, and neighbours by the correlation of their activations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from falcon_dvc.progress import track

BINS = 40
MOST_IMAGES = 10_000  # that a correlation is measured on: more change no second digit, and cost time and memory
AT_ONCE = 512  # groups in memory, twice
Members = Sequence[Sequence[int]]
Activations = Float[np.ndarray, "images features"]


@dataclass(frozen=True)
class Histogram:
    """Images by what a group does on them.

    Attributes
    ----------
    counts : images in each of `BINS` bins of equal width from `low` to `high`.
    threshold : from here on the group fires; None if it is not known.
    relative : a group's value is its weakest member's activation as a multiple of that member's threshold.
    """

    counts: list[int]
    low: float
    high: float
    threshold: float | None
    relative: bool


def histogram(normalised: Activations, thresholds: Float[np.ndarray, " features"], members: Sequence[int]) -> Histogram:
    """Histogram of a feature, or of a group: it fires where its weakest member reaches its threshold."""
    columns, least = normalised[:, members], thresholds[members]
    relative = len(members) > 1 and bool((np.isfinite(least) & (least > 0)).all())
    values = (columns / least).min(axis=1) if relative else columns.mean(axis=1)
    known = 1.0 if relative else float(least[0]) if len(members) == 1 and np.isfinite(least[0]) else None
    low, high = float(values.min()), float(values.max())
    counts, _ = np.histogram(values, bins=BINS, range=(low, high if high > low else low + 1.0))
    return Histogram(counts.tolist(), low, high if high > low else low + 1.0, known, relative)


def standardised(normalised: Activations, members: Members) -> Float[np.ndarray, "groups images"]:
    """Activation of each group (mean of its members) with mean 0 and length 1 over the images; 0 where it is constant."""
    values = np.stack([normalised[:, some].mean(axis=1) for some in members]).astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, length, out=np.zeros_like(values), where=length > 1e-6)


def sampled(rows: Int[np.ndarray, " images"]) -> Int[np.ndarray, " sample"]:
    """Images that correlations are measured on, spread evenly."""
    count = min(len(rows), MOST_IMAGES)
    return rows[np.linspace(0, len(rows) - 1, count).astype(int)] if count else rows


@dataclass(frozen=True)
class Space:
    """The groups of an encoder and its features on the sampled images."""

    normalised: Activations
    members: Members


def neighbours(of: Space, among: Space, count: int, same: bool) -> tuple[np.ndarray, np.ndarray]:
    """The groups of one encoder that are most correlated with each group of another (or the same).

    Parameters
    ----------
    same : both are one encoder; groups that share a feature are left out, as they are alike by construction.

    Returns
    -------
    indices, correlations : groups of `of` x up to `count`, the most correlated first; -1 where there is none.
    """
    blocks = [_best(of, block, among, count, same) for block in track(list(_blocks(len(of.members))), "Neighbours")]
    return np.concatenate([block[0] for block in blocks]), np.concatenate([block[1] for block in blocks])


def _blocks(length: int) -> Iterator[slice]:
    return (slice(start, min(start + AT_ONCE, length)) for start in range(0, length, AT_ONCE))


def _best(of: Space, block: slice, among: Space, count: int, same: bool) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours of a block of groups: the best so far and each further block, compared."""
    own = standardised(of.normalised, of.members[block])
    width = among.normalised.shape[1]
    index = np.full((len(own), count), -1)
    best = np.full((len(own), count), -np.inf)
    for other in _blocks(len(among.members)):
        # Rounded, so that the order does not hang on the last bits of a sum.
        found = (own @ standardised(among.normalised, among.members[other]).T).round(4)
        if same:
            found[_overlapping(of.members[block], among.members[other], width)] = -np.inf
        columns = np.broadcast_to(np.arange(other.start, other.stop), found.shape)
        index, best = _merged(np.hstack([index, columns]), np.hstack([best, found]), count)
    return np.where(np.isfinite(best), index, -1), best


def _overlapping(first: Members, second: Members, width: int) -> np.ndarray:
    """Which pairs of groups share a feature."""
    one, two = (np.zeros((len(some), width), dtype=np.float32) for some in (first, second))
    for matrix, some in ((one, first), (two, second)):
        for row, members in enumerate(some):
            matrix[row, members] = 1
    return one @ two.T > 0


def _merged(index: np.ndarray, values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` largest of each row."""
    order = np.argsort(-values, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(index, order, axis=1), np.take_along_axis(values, order, axis=1)
