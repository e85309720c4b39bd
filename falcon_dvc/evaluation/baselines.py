"""Compute the baselines that FALCON is compared with, on the same crops and vocabulary."""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp

from falcon_dvc.threads import in_blocks

WEIGHTS = 0.998, 0.97  # weight of the first image in soft-WPMI, and the limit at the last rank, as in the released code
SMALL = 1e-7
PAIRS_AT_ONCE = 2**27  # pairs of a crop and a concept whose probabilities are in memory
# Crops whose probabilities a thread normalises at once, and concepts whose probabilities it multiplies; both fit a cache.
CROPS_AT_ONCE = 16
CONCEPTS_AT_ONCE = 256
# Factors in one product. Each is at least 1 - WEIGHTS[0], so the product does not underflow in single precision.
FACTORS = 12


def soft_wpmi(
    crops: Float[np.ndarray, "crops dim"],
    group: Int[np.ndarray, " entries"],
    rank: Int[np.ndarray, " entries"],
    groups: int,
    concepts: Float[np.ndarray, "concepts dim"],
    *,
    crop: Int[np.ndarray, " entries"] | None = None,
    sharpness: float = 10.0,
    top: int = 100,
    discount: float = 1.0,
) -> Float[np.ndarray, "groups concepts"]:
    """Compute CLIP-Dissect's similarity of each group to each concept (soft weighted pointwise mutual information).

    The likelihood over a group's strongest crops is ``log p(D_j | c) = sum_i log(1 + p_i (P_ic - 1) + 1e-7)``. ``P``
    is the softmax over concepts of ``sharpness * cosine``. ``p_i`` falls from 0.998 at rank 0 by equal steps, and would be 0.97 at rank
    `top`. The result is this value
    minus `discount` times the log of its mean over all groups.

    All is in single precision, as published. A sum of logarithms is computed as the logarithm of a product. So only a
    twelfth of the logarithms is needed.

    Parameters
    ----------
    crops, concepts : unit embeddings.
    group, rank : group of each entry, and its rank by activation in the group, from 0.
    groups : number of groups. A group without crops scores 0 everywhere before the discount.
    crop : crop of each entry; if not given, each crop has one entry. Crops that several groups share are compared once.
    top : number of each group's strongest crops that count.

    References
    ----------
    Oikarinen and Weng, CLIP-Dissect, ICLR 2023 (a = 10, top 100, lambda = 1).
    """
    crop = np.arange(len(crops)) if crop is None else crop
    used = np.flatnonzero(rank < top)
    total, at_once = np.zeros((groups, len(concepts))), max(PAIRS_AT_ONCE // max(len(concepts), 1), 1)
    different, place = np.unique(crop[used], return_inverse=True)
    weight = WEIGHTS[0] - rank[used] / top * (WEIGHTS[0] - WEIGHTS[1])
    for start in range(0, len(different), at_once):
        given = _given_crop(crops[different[start : start + at_once]], concepts, sharpness)
        entries = np.flatnonzero((place >= start) & (place < start + at_once))
        _add_logs(total, given, place[entries] - start, group[used[entries]], weight[entries])
    return total - discount * (logsumexp(total, axis=0) - np.log(groups))


def _given_crop(crops: np.ndarray, concepts: np.ndarray, sharpness: float) -> Float[np.ndarray, "crops concepts"]:
    """Compute P: a softmax over concepts for each crop."""
    given = np.float32(sharpness) * crops.astype(np.float32) @ concepts.astype(np.float32).T

    def normalise(rows: slice) -> None:
        block = given[rows]
        block -= block.max(axis=1, keepdims=True, initial=-np.inf)
        np.exp(block, out=block)
        block /= block.sum(axis=1, keepdims=True)

    in_blocks(normalise, len(given), CROPS_AT_ONCE)
    return given


def _add_logs(total: np.ndarray, given: np.ndarray, crop: np.ndarray, group: np.ndarray, weight: np.ndarray) -> None:
    """Add the logarithms of all entries to the totals of their groups.

    The identity is ``log(1 + p (P - 1) + 1e-7) = log p + log(P + (1 - p + 1e-7) / p)``. The second term costs one
    addition for each pair; the first is known. Threads divide the concepts among them, so the number of threads does
    not change the result.
    """
    groups, rounds = _rounds(group)
    least = ((1 + SMALL - weight) / weight).astype(np.float32)[:, None]

    def add(concepts: slice) -> None:
        block = np.ascontiguousarray(given[:, concepts])
        for first in range(0, len(rounds), FACTORS):
            product = np.ones((len(groups), block.shape[1]), dtype=np.float32)
            for entries in rounds[first : first + FACTORS]:
                factor = block.take(crop[entries], axis=0)
                factor += least[entries]
                product[: len(entries)] *= factor
            total[groups, concepts] += np.log(product)

    in_blocks(add, given.shape[1], CONCEPTS_AT_ONCE)
    total += np.bincount(group, np.log(weight), minlength=len(total))[:, None]


def _rounds(
    group: Int[np.ndarray, " entries"],
) -> tuple[Int[np.ndarray, " groups"], list[Int[np.ndarray, " entries_of_round"]]]:
    """Divide the entries into rounds that hold at most one entry of each group.

    The groups are returned too, those with the most entries first.
    """
    groups, place, count = np.unique(group, return_inverse=True, return_counts=True)
    by_count = np.argsort(-count, kind="stable")
    place = np.argsort(by_count)[place]
    order = np.argsort(place, kind="stable")
    turn = np.arange(len(group)) - np.searchsorted(place[order], place[order])
    by_turn = order[np.argsort(turn, kind="stable")]
    return groups[by_count], np.split(by_turn, np.cumsum(np.bincount(turn))[:-1])
