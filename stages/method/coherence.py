"""Interpretability of a group (step 6): do its crops look alike to the image-text encoder, more than random crops do?"""

import numpy as np
from jaxtyping import Float, Int
from numpy.random import Generator

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
    total = np.zeros((groups, embeddings.shape[1]))
    np.add.at(total, group, embeddings.astype(np.float64))
    return _from_sums(total, np.bincount(group, minlength=groups))


def _from_sums(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    pairs = count * (count - 1.0)
    values = np.full(len(total), np.nan)
    return np.divide(np.square(total).sum(axis=1) - count, pairs, out=values, where=pairs > 0)


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


def coherence_null(
    embeddings: Float[np.ndarray, "pool dim"],
    stratum: Int[np.ndarray, " pool"],
    size: Int[np.ndarray, " strata"],
    sets: int,
    generator: Generator,
) -> Float[np.ndarray, " sets"]:
    """Coherence of random sets with `size` different rows of each stratum of the pool.

    Raises
    ------
    ValueError
        If a stratum is smaller than its part of a set.
    """
    parts = [
        _sums_of_random_sets(embeddings[stratum == number], int(count), sets, generator)
        for number, count in enumerate(size)
        if count
    ]
    return _from_sums(np.sum(parts, axis=0), np.full(sets, size.sum()))


def _sums_of_random_sets(pool: np.ndarray, size: int, sets: int, generator: Generator) -> np.ndarray:
    """Sums of `sets` random sets. Each shuffle of the pool is cut into as many sets as it holds, so a draw costs no sort of its own."""
    if size > len(pool):
        raise ValueError(f"a pool of {len(pool)} random crops is too small for sets of {size}")
    each = len(pool) // size
    rows = [generator.permutation(len(pool))[: each * size] for _ in range(-(-sets // each))]
    drawn = pool[np.concatenate(rows).reshape(-1, size)[:sets]]
    return drawn.sum(axis=1, dtype=np.float64)


def against_null(value: float, null: Float[np.ndarray, " sets"]) -> tuple[float, float]:
    """z-score, and the probability that a random set is at least as coherent (never 0: the set itself counts).

    Values within `ROUNDING` of each other are alike; a NaN (a group without a pair) has probability 1.
    """
    spread = float(null.std())
    z = (value - float(null.mean())) / spread if spread > ROUNDING else 0.0
    at_least = len(null) - int((null < value - ROUNDING).sum())
    return z, (1 + at_least) / (len(null) + 1)
