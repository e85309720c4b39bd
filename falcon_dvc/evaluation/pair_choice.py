"""Choose pairs of features by their words and by how often they fire together, without labels (claim C2)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.random import Generator
from scipy import sparse

Relation = Bool[np.ndarray, "features features"]
Pairs = Int[np.ndarray, "pairs 2"]


def different_words(words: Int[np.ndarray, " features"]) -> Relation:
    """Find the pairs of features whose first words differ: symmetric, False on the diagonal.

    Parameters
    ----------
    words : number of each feature's first word; -1 for a feature without a word, which has no partner.
    """
    named = words >= 0
    return (words[:, None] != words[None, :]) & named[:, None] & named[None, :]


def common_images(fires: Bool[np.ndarray, "images features"]) -> Int[np.ndarray, "features features"]:
    """Count the images on which both features of each pair fire."""
    firing = sparse.csr_array(fires, dtype=np.int32)
    return (firing.T @ firing).toarray()


def occurring_conjunctions(
    words: Int[np.ndarray, " features"],
    present: Bool[np.ndarray, "images words"],
    correlation: Float[np.ndarray, "features words"],
    least_images: int,
    least_own: float,
    most_other: float,
) -> Relation:
    """Find the pairs of features whose words occur together, while each feature follows its own word and not the other's.

    So there are images that both words describe, and no member names the conjunction by itself.

    Parameters
    ----------
    words : number of each feature's first word; -1 for a feature without a word, which has no partner.
    present : whether an image has the word among its captions.
    correlation : of each feature with each word.
    least_images : images with both words, at least.
    least_own : correlation of each feature with its own word, at least.
    most_other : correlation of each feature with the other's word, at most.
    """
    together = common_images(present)[np.ix_(words, words)]
    with_words = correlation[:, words]
    follows = (words >= 0) & (np.diagonal(with_words) >= least_own)
    other = np.maximum(with_words, with_words.T)
    return (
        (together >= least_images)
        & (other <= most_other)
        & follows[:, None]
        & follows[None, :]
        & different_words(words)
    )


def disjoint_pairs(eligible: Relation, most: int, generator: Generator) -> Pairs:
    """Draw pairs at random, so that no feature belongs to two of them.

    The strongest pairs would be those of redundant features. Pairs without a common feature are independent items.

    Parameters
    ----------
    eligible : pairs that may be drawn; symmetric.
    most : number of pairs, at most.

    Returns
    -------
    The smaller feature of each pair first; in the order of the draw.
    """
    left = np.triu(eligible, 1)
    pairs: list[np.ndarray] = []
    while len(pairs) < most and left.any():
        pair = np.array(divmod(generator.choice(np.flatnonzero(left)), len(left)))
        pairs.append(pair)
        left[pair] = False
        left[:, pair] = False
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def with_random_partners(pairs: Pairs, eligible: Relation, generator: Generator) -> Pairs:
    """Replace the second feature of each pair by a random one that is eligible beside the first.

    Parameters
    ----------
    eligible : features that may stand beside each feature; the old partner and the feature itself never do.

    Returns
    -------
    The new pairs; a feature without another partner has -1 in its place.
    """
    draw = np.where(eligible[pairs[:, 0]], generator.random((len(pairs), len(eligible))), np.inf)
    np.put_along_axis(draw, pairs, np.inf, axis=1)
    partner = draw.argmin(axis=1) if len(pairs) else np.zeros(0, dtype=np.int64)
    found = np.isfinite(draw).any(axis=1)
    return np.column_stack([pairs[:, 0], np.where(found, partner, -1)])
