"""Measure whether the crops of a group are more alike than random crops to the image-text encoder (step 6)."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int
from numpy.random import Generator
from scipy import sparse

ROUNDING = 1e-6  # of mean cosines: the last bits of an embedding, in single precision, depend on the crops in its batch


def coherence(
    embeddings: Float[np.ndarray, "crops dim"], group: Int[np.ndarray, " crops"], groups: int
) -> Float[np.ndarray, " groups"]:
    """Compute the mean cosine of all pairs of *different* crops: ``I(S) = (|sum e|^2 - n) / (n (n - 1))``.

    Parameters
    ----------
    embeddings : unit rows.
    group : number of each row's group, from 0.

    Returns
    -------
    NaN for a group with fewer than two crops, which has no pair.
    """
    rows = np.arange(len(group))
    total = sparse.csr_array((np.ones(len(group)), (group, rows)), shape=(groups, len(group))) @ embeddings.astype(
        np.float64
    )
    return _from_lengths(np.square(total).sum(axis=1), np.bincount(group, minlength=groups))


def _from_lengths(
    length: Float[np.ndarray, " groups"], count: Int[np.ndarray, " groups"]
) -> Float[np.ndarray, " groups"]:
    """Compute coherence from the squared lengths of sums of `count` unit rows each."""
    pairs = count * (count - 1.0)
    return np.divide(length - count, pairs, out=np.full(len(length), np.nan), where=pairs > 0)


def with_diagonal(coherence: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Compute the released measure, which counts each crop's cosine with itself: ``s = ((n - 1) I + 1) / n``."""
    return ((count - 1) * coherence + 1) / np.maximum(count, 1)


def size_strata(
    pool: Float[np.ndarray, " pool"], crops: Float[np.ndarray, " crops"], most: int, least: int
) -> tuple[Int[np.ndarray, " pool"], Int[np.ndarray, " crops"]]:
    """Divide the pool and other crops into at most `most` strata by size.

    Each stratum holds at least `least` crops of the pool. Small crops resemble each other, whatever they show. So
    crops are only compared with random crops of their own size.

    Parameters
    ----------
    pool, crops : sides of the random crops and of the crops to compare, as shares of their image's shorter side.

    Raises
    ------
    ValueError
        If the whole pool holds fewer than `least` crops.
    """
    if len(pool) < least:
        raise ValueError(f"a pool of {len(pool)} random crops is too small for sets of {least}")
    for count in range(most, 0, -1):
        edges = np.unique(np.quantile(pool, np.arange(1, count) / count))
        stratum = np.searchsorted(edges, pool)
        if np.bincount(stratum, minlength=len(edges) + 1).min() >= least:
            break
    return stratum, np.searchsorted(edges, crops)


def coherence_of_random_sets(
    embeddings: Float[np.ndarray, "pool dim"],
    stratum: Int[np.ndarray, " pool"],
    sizes: Int[np.ndarray, "groups strata"],
    sets: int,
    generator: Generator,
) -> Iterator[Float[np.ndarray, " groups"]]:
    """Yield the coherence of one random set for each group, `sets` times (null distribution).

    A set has `sizes` different rows of each stratum of the pool. One shuffle of each stratum serves all groups: its
    first n rows are a random set of n. So the set of one group does not depend on the other groups. The expensive
    cosines of the sums are computed once for all groups.

    Yields
    ------
    One value for each group; NaN for a group with fewer than two rows. Memory grows with the square of the number of
    different sizes, over all strata.

    Raises
    ------
    ValueError
        If a stratum has fewer rows than a set needs of it.
    """
    strata = [np.flatnonzero(stratum == number) for number in range(sizes.shape[1])]
    for rows, most in zip(strata, sizes.max(axis=0, initial=0), strict=True):
        if most > len(rows):
            raise ValueError(f"a pool of {len(rows)} random crops is too small for sets of {most}")
    different_sizes = [
        np.unique(np.append(sizes_in_stratum, 0)) for sizes_in_stratum in sizes.T
    ]  # 0 rows have a sum of zero
    start = np.cumsum([0, *map(len, different_sizes)])[:-1]
    place = np.column_stack(
        [
            first + np.searchsorted(sizes_in_stratum, size)
            for first, sizes_in_stratum, size in zip(start, different_sizes, sizes.T, strict=True)
        ]
    )
    for _ in range(sets):
        sums = [
            _sums_of_first(embeddings[generator.permutation(rows)[: sizes_in_stratum[-1]]], sizes_in_stratum)
            for rows, sizes_in_stratum in zip(strata, different_sizes, strict=True)
        ]
        yield _from_lengths(_squared_lengths(np.concatenate(sums), place), sizes.sum(axis=1))


def _sums_of_first(
    rows: Float[np.ndarray, "rows dim"], counts: Int[np.ndarray, " counts"]
) -> Float[np.ndarray, "counts dim"]:
    """Compute the sum of the first rows, for several numbers of rows."""
    total = np.zeros((len(rows) + 1, rows.shape[1]))
    np.cumsum(rows, axis=0, dtype=np.float64, out=total[1:])
    return total[counts]


def _squared_lengths(
    terms: Float[np.ndarray, "parts dim"], place: Int[np.ndarray, "groups strata"]
) -> Float[np.ndarray, " groups"]:
    """Compute the squared length of the sum of each group's terms, from the products of all terms."""
    product = terms @ terms.T
    length = np.zeros(len(place))
    for first in range(place.shape[1]):
        length += product[place[:, first], place[:, first]]
        for second in range(first):
            length += 2 * product[place[:, first], place[:, second]]
    return length


def against_null(
    values: Float[np.ndarray, " groups"], null: Float[np.ndarray, "groups sets"]
) -> tuple[Float[np.ndarray, " groups"], Float[np.ndarray, " groups"]]:
    """Compute z-scores, and the probabilities that a random set is at least as coherent.

    The set itself is counted, so a probability is never 0. Values within `ROUNDING` of each other are equal. A NaN (a
    group without a pair) has probability 1.
    """
    spread = null.std(axis=1)
    z = np.divide(values - null.mean(axis=1), spread, out=np.zeros(len(values)), where=spread > ROUNDING)
    at_least = null.shape[1] - (null < values[:, None] - ROUNDING).sum(axis=1)
    return z, (1 + at_least) / (null.shape[1] + 1)
