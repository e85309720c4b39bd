"""What FALCON is compared with, on the same crops and the same vocabulary."""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_softmax, logsumexp

from stages.method.rows import Rows

WEIGHTS = 0.998, 0.97  # of the first and the last ranked image in soft-WPMI, as published
SMALL = 1e-7
CAPTIONS_AT_ONCE = 65_536  # of their embeddings in memory
PAIRS_AT_ONCE = 2**22  # of a crop and a concept, their probabilities in memory


def soft_wpmi(
    crops: Float[np.ndarray, "crops dim"],
    group: Int[np.ndarray, " crops"],
    rank: Int[np.ndarray, " crops"],
    groups: int,
    concepts: Float[np.ndarray, "concepts dim"],
    *,
    sharpness: float = 10.0,
    top: int = 100,
    discount: float = 1.0,
) -> Float[np.ndarray, "groups concepts"]:
    """CLIP-Dissect's similarity of every group to every concept (soft weighted pointwise mutual information).

    ``log p(D_j | c) = sum_i log(1 + p_i (P_ic - 1) + 1e-7)`` over the group's strongest crops, ``P`` the softmax over concepts of
    ``sharpness * cosine``, ``p_i`` falling from 0.998 to 0.97; minus `discount` times the log of its mean over all groups.

    Parameters
    ----------
    crops, concepts : unit embeddings.
    group, rank : each crop's group, and its place by activation there, from 0.
    groups : how many groups; one without crops scores 0 everywhere before the discount.
    top : crops of each group that count.

    References
    ----------
    Oikarinen and Weng, CLIP-Dissect, ICLR 2023 (a = 10, top 100, lambda = 1).
    """
    used, directions = np.flatnonzero(rank < top), concepts.astype(np.float64).T
    total, at_once = np.zeros((groups, len(concepts))), max(PAIRS_AT_ONCE // max(len(concepts), 1), 1)
    for start in range(0, len(used), at_once):
        some = used[start : start + at_once]
        weight = np.interp(rank[some], [0, max(top - 1, 1)], WEIGHTS)[:, None]
        given = np.exp(log_softmax(sharpness * crops[some].astype(np.float64) @ directions, axis=1))
        np.add.at(total, group[some], np.log(1 + weight * (given - 1) + SMALL))
    return total - discount * (logsumexp(total, axis=0) - np.log(groups))


def caption_means(captions: Rows, incidence, chosen: Int[np.ndarray, " concepts"]) -> Float[np.ndarray, "concepts dim"]:
    """Unit text embedding of each chosen concept: the mean of the captions that mention it (prompt ensembling by the corpus itself).

    Parameters
    ----------
    captions : (captions, dim) text embeddings; read in parts, so that they need not fit the memory.
    """
    some, (rows, dim) = incidence[:, chosen], captions.shape
    total = np.zeros((len(chosen), dim))
    for start in range(0, rows, CAPTIONS_AT_ONCE):
        part = slice(start, start + CAPTIONS_AT_ONCE)
        total += some[part].T @ captions[part].astype(np.float64)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.divide(total, length, out=np.zeros_like(total), where=length > 0)
