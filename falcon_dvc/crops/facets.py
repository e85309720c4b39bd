"""Cluster the highly activating crops of a feature into facets, one for each thing that the feature follows."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

MOST_ROUNDS = 50  # of k-means; it ends when no crop changes its facet
DECIMALS = 9  # of a cosine: what the order of the crops does not change

Embeddings = Float[np.ndarray, "crops dim"]
Facets = Int[np.ndarray, " crops"]


def facets_of(embeddings: Embeddings, scores: Float[np.ndarray, "crops words"], least: float) -> Facets:
    """Cluster the crops of one feature; facet 0 has most crops.

    There are as many clusters as words. The word that distinguishes its cluster least is dropped, and the crops are
    clustered again, until the score of each word is larger by `least` in its own cluster than in every other one. So a
    feature that follows a single thing, or several things that always come together, has one facet.

    Parameters
    ----------
    embeddings : unit length.
    scores : ``s_x(w)`` of the words that the feature follows, the best word first.
    least : least difference between the mean score of a word in its cluster and in another one.
    """
    words = np.flatnonzero(scores.any(axis=0))
    while len(words) > 1:
        facet = clusters(embeddings, scores[:, words])
        difference = np.round(differences(facet, scores[:, words]), DECIMALS)
        if difference.min() >= least:
            return _largest_first(facet)
        words = np.delete(words, len(words) - 1 - difference[::-1].argmin())
    return np.zeros(len(embeddings), dtype=int)


def clusters(embeddings: Embeddings, scores: Float[np.ndarray, "crops words"]) -> Facets:
    """Cluster crops by spherical k-means, which starts at the mean crop of each word, weighted by its scores.

    No random start is needed, and the order of the crops has no effect.
    """
    facet = _nearest(embeddings, scores)
    for _ in range(MOST_ROUNDS):
        moved = _nearest(embeddings, _members(facet, scores.shape[1]))
        if (moved == facet).all():
            break
        facet = moved
    return facet


def _nearest(embeddings: Embeddings, weights: Float[np.ndarray, "crops clusters"]) -> Facets:
    """Find the nearest centre of each crop; centres are weighted means of crops, scaled to unit length."""
    cosine = np.round(embeddings @ _scaled(weights.T @ embeddings).T, DECIMALS)
    cosine[:, ~weights.any(axis=0)] = -np.inf
    return cosine.argmax(axis=1)


def _scaled(centres: Float[np.ndarray, "clusters dim"]) -> Float[np.ndarray, "clusters dim"]:
    length = np.linalg.norm(centres, axis=1, keepdims=True)
    return np.divide(centres, length, out=np.zeros_like(centres), where=length > 0)


def _members(facet: Facets, count: int) -> Float[np.ndarray, "crops clusters"]:
    return (facet[:, None] == np.arange(count)).astype(np.float64)


def differences(facet: Facets, scores: Float[np.ndarray, "crops words"]) -> Float[np.ndarray, " words"]:
    """Compute how much larger the mean score of each word is in its own cluster than in any other one.

    A word whose cluster is empty has minus infinity.
    """
    members = _members(facet, scores.shape[1])
    size = members.sum(axis=0)
    total = members.T @ scores
    mean = np.divide(total, size[:, None], out=np.full_like(total, -np.inf), where=size[:, None] > 0)
    own = np.diag(mean).copy()
    np.fill_diagonal(mean, -np.inf)
    return own - mean.max(axis=0)


def _largest_first(facet: Facets) -> Facets:
    """Number facets by their number of crops; of equal ones, the facet of the better word comes first."""
    size = np.bincount(facet)
    place = np.argsort(np.argsort(-size, kind="stable"), kind="stable")
    return place[facet]


def most_typical(embeddings: Embeddings, facet: Facets) -> Int[np.ndarray, " crops"]:
    """Order crops by facet, then by the cosine to the mean crop of their facet, the largest first; ties by row."""
    centres = _scaled(_members(facet, int(facet.max(initial=0)) + 1).T @ embeddings)
    cosine = np.round(np.einsum("cd,cd->c", embeddings, centres[facet]), DECIMALS)
    return np.lexsort((-cosine, facet))
