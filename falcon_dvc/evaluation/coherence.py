"""Interpretability of a group (step 6): do its crops look alike to the image-text encoder, more than random crops do?"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int
from numpy.random import Generator
from scipy import sparse

ROUNDING = 1e-9  # of a sum of cosines in double precision


def coherence(
    embeddings: Float[np.ndarray, "crops dim"], group: Int[np.ndarray, " crops"], groups: int
) -> Float[np.ndarray, " groups"]:
    """Mean cosine of all pairs of *different* crops: ``I(S) = (|sum e|^2 - n) / (n (n - 1))``.

    Parameters
    ----------
    embeddings : unit rows.
    group : number of each row's group, from 0.

    Returns
    -------
    NaN for a group with fewer than two crops: there is no pair.
    """
    rows = np.arange(len(group))
    total = sparse.csr_array((np.ones(len(group)), (group, rows)), shape=(groups, len(group))) @ embeddings.astype(
        np.float64
    )
    return _from_lengths(np.square(total).sum(axis=1), np.bincount(group, minlength=groups))


def _from_lengths(
    length: Float[np.ndarray, " groups"], count: Int[np.ndarray, " groups"]
) -> Float[np.ndarray, " groups"]:
    """Coherence from the squared lengths of sums of `count` unit rows each."""
    pairs = count * (count - 1.0)
    return np.divide(length - count, pairs, out=np.full(len(length), np.nan), where=pairs > 0)


def with_diagonal(coherence: np.ndarray, count: np.ndarray) -> np.ndarray:
    """The released measure, which counts each crop's cosine with itself: ``s = ((n - 1) I + 1) / n``."""
    return ((count - 1) * coherence + 1) / np.maximum(count, 1)


def size_strata(
    pool: Float[np.ndarray, " pool"], crops: Float[np.ndarray, " crops"], most: int, least: int
) -> tuple[Int[np.ndarray, " pool"], Int[np.ndarray, " crops"]]:
    """Strata of alike size for the pool and for other crops: at most `most`, and each holding at least `least` crops of the pool.

    Small crops resemble each other whatever they show, so crops are compared with random crops of their own size only.

    Parameters
    ----------
    pool, crops : sides of the random crops and of the crops to compare, as shares of their image's.

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
    """Null of many groups: for each, the coherence of a random set with `sizes` different rows of each stratum of the pool.

    One shuffle of each stratum serves every group: the first n rows of it are a random set of n. So a set of a group is whatever
    the other groups are, and what costs, the cosines of these sums, is computed once for all groups.

    Yields
    ------
    One value for each group, `sets` times; NaN for a group with fewer than two rows. Memory: the square of the number of
    different sizes, over all strata.

    Raises
    ------
    ValueError
        If a stratum is smaller than its part of a set.
    """
    strata = [np.flatnonzero(stratum == number) for number in range(sizes.shape[1])]
    for rows, most in zip(strata, sizes.max(axis=0, initial=0), strict=True):
        if most > len(rows):
            raise ValueError(f"a pool of {len(rows)} random crops is too small for sets of {most}")
    asked = [np.unique(np.append(some, 0)) for some in sizes.T]  # 0 is no row: a sum of zero
    start = np.cumsum([0, *map(len, asked)])[:-1]
    place = np.column_stack(
        [first + np.searchsorted(some, size) for first, some, size in zip(start, asked, sizes.T, strict=True)]
    )
    for _ in range(sets):
        sums = [
            _sums_of_first(embeddings[generator.permutation(rows)[: some[-1]]], some)
            for rows, some in zip(strata, asked, strict=True)
        ]
        yield _from_lengths(_squared_lengths(np.concatenate(sums), place), sizes.sum(axis=1))


def _sums_of_first(
    rows: Float[np.ndarray, "rows dim"], counts: Int[np.ndarray, " counts"]
) -> Float[np.ndarray, "counts dim"]:
    """Sum of the first rows, for several counts of them."""
    total = np.zeros((len(rows) + 1, rows.shape[1]))
    np.cumsum(rows, axis=0, dtype=np.float64, out=total[1:])
    return total[counts]


def _squared_lengths(
    parts: Float[np.ndarray, "parts dim"], place: Int[np.ndarray, "groups strata"]
) -> Float[np.ndarray, " groups"]:
    """Squared length of the sum of each group's parts, from the products of all parts."""
    product = parts @ parts.T
    length = np.zeros(len(place))
    for one in range(place.shape[1]):
        length += product[place[:, one], place[:, one]]
        for other in range(one):
            length += 2 * product[place[:, one], place[:, other]]
    return length


def against_null(
    values: Float[np.ndarray, " groups"], null: Float[np.ndarray, "groups sets"]
) -> tuple[Float[np.ndarray, " groups"], Float[np.ndarray, " groups"]]:
    """z-scores, and the probabilities that a random set is at least as coherent (never 0: the set itself counts).

    Values within `ROUNDING` of each other are alike; a NaN (a group without a pair) has probability 1.
    """
    spread = null.std(axis=1)
    z = np.divide(values - null.mean(axis=1), spread, out=np.zeros(len(values)), where=spread > ROUNDING)
    at_least = null.shape[1] - (null < values[:, None] - ROUNDING).sum(axis=1)
    return z, (1 + at_least) / (null.shape[1] + 1)
