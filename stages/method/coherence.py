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


def coherence_null(
    embeddings: Float[np.ndarray, "pool dim"], size: int, sets: int, generator: Generator
) -> Float[np.ndarray, " sets"]:
    """Coherence of random sets of `size` different rows of the pool.

    Each shuffle of the pool is cut into as many sets as it holds, so a draw costs no sort of its own.

    Raises
    ------
    ValueError
        If the pool is smaller than a set.
    """
    if size > len(embeddings):
        raise ValueError(f"a pool of {len(embeddings)} crops is too small for sets of {size}")
    each = len(embeddings) // size
    draws = [_shuffled_sets(embeddings, size, each, generator) for _ in range(-(-sets // each))]
    return np.concatenate(draws)[:sets]


def _shuffled_sets(embeddings: np.ndarray, size: int, sets: int, generator: Generator) -> np.ndarray:
    rows = generator.permutation(len(embeddings))[: sets * size].reshape(sets, size)
    return _from_sums(embeddings[rows].astype(np.float64).sum(axis=1), np.full(sets, size))


def against_null(value: float, null: Float[np.ndarray, " sets"]) -> tuple[float, float]:
    """z-score, and the probability that a random set is at least as coherent (never 0: the set itself counts).

    Values within `ROUNDING` of each other are alike; a NaN (a group without a pair) has probability 1.
    """
    spread = float(null.std())
    z = (value - float(null.mean())) / spread if spread > ROUNDING else 0.0
    at_least = len(null) - int((null < value - ROUNDING).sum())
    return z, (1 + at_least) / (len(null) + 1)
