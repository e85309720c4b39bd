"""What FALCON is compared with, on the same crops and the same vocabulary."""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp

from falcon_dvc.embeddings import Rows
from falcon_dvc.threads import in_blocks

WEIGHTS = 0.998, 0.97  # of the first and the last ranked image in soft-WPMI, as published
SMALL = 1e-7
CAPTIONS_AT_ONCE = 65_536  # of their embeddings in memory
PAIRS_AT_ONCE = 2**27  # of a crop and a concept, their probabilities in memory
CROPS_AT_ONCE = 16  # whose probabilities a thread normalises, and
CONCEPTS_AT_ONCE = 256  # of all groups that it multiplies: so few stay in a processor's cache
# Of which each is at least 1 - WEIGHTS[0]: their product is far from the smallest number in single precision.
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
    """CLIP-Dissect's similarity of every group to every concept (soft weighted pointwise mutual information).

    ``log p(D_j | c) = sum_i log(1 + p_i (P_ic - 1) + 1e-7)`` over the group's strongest crops, ``P`` the softmax over concepts of
    ``sharpness * cosine``, ``p_i`` falling from 0.998 to 0.97; minus `discount` times the log of its mean over all groups.
    In single precision, as published; a sum of logarithms is the logarithm of a product, which costs a twelfth of them.

    Parameters
    ----------
    crops, concepts : unit embeddings.
    group, rank : of each entry its group, and its place by activation there, from 0.
    groups : how many groups; one without crops scores 0 everywhere before the discount.
    crop : which crop each entry is; without it there is an entry for each crop. What several groups share is compared once.
    top : crops of each group that count.

    References
    ----------
    Oikarinen and Weng, CLIP-Dissect, ICLR 2023 (a = 10, top 100, lambda = 1).
    """
    crop = np.arange(len(crops)) if crop is None else crop
    used = np.flatnonzero(rank < top)
    total, at_once = np.zeros((groups, len(concepts))), max(PAIRS_AT_ONCE // max(len(concepts), 1), 1)
    different, place = np.unique(crop[used], return_inverse=True)
    weight = np.interp(rank[used], [0, max(top - 1, 1)], WEIGHTS)
    for start in range(0, len(different), at_once):
        given = _given_crop(crops[different[start : start + at_once]], concepts, sharpness)
        some = np.flatnonzero((place >= start) & (place < start + at_once))
        _add_logs(total, given, place[some] - start, group[used[some]], weight[some])
    return total - discount * (logsumexp(total, axis=0) - np.log(groups))


def _given_crop(crops: np.ndarray, concepts: np.ndarray, sharpness: float) -> Float[np.ndarray, "crops concepts"]:
    """P: a softmax over concepts for each crop."""
    given = np.float32(sharpness) * crops.astype(np.float32) @ concepts.astype(np.float32).T

    def normalise(rows: slice) -> None:
        some = given[rows]
        some -= some.max(axis=1, keepdims=True, initial=-np.inf)
        np.exp(some, out=some)
        some /= some.sum(axis=1, keepdims=True)

    in_blocks(normalise, len(given), CROPS_AT_ONCE)
    return given


def _add_logs(total: np.ndarray, given: np.ndarray, crop: np.ndarray, group: np.ndarray, weight: np.ndarray) -> None:
    """Add the logarithms of all entries to their groups' totals; threads share the concepts, so their number changes nothing.

    ``log(1 + p (P - 1) + 1e-7) = log p + log(P + (1 - p + 1e-7) / p)``: the second term is one sum for each pair, the first is known.
    """
    groups, rounds = _rounds(group)
    least = ((1 + SMALL - weight) / weight).astype(np.float32)[:, None]

    def add(part: slice) -> None:
        some = np.ascontiguousarray(given[:, part])
        for first in range(0, len(rounds), FACTORS):
            product = np.ones((len(groups), some.shape[1]), dtype=np.float32)
            for entries in rounds[first : first + FACTORS]:
                factor = some.take(crop[entries], axis=0)
                factor += least[entries]
                product[: len(entries)] *= factor
            total[groups, part] += np.log(product)

    in_blocks(add, given.shape[1], CONCEPTS_AT_ONCE)
    total += np.bincount(group, np.log(weight), minlength=len(total))[:, None]


def _rounds(group: Int[np.ndarray, " entries"]) -> tuple[Int[np.ndarray, " groups"], list[Int[np.ndarray, " some"]]]:
    """The groups, those with the most entries first; and entries in rounds, in each one of every group that still has one."""
    groups, place, count = np.unique(group, return_inverse=True, return_counts=True)
    by_count = np.argsort(-count, kind="stable")
    place = np.argsort(by_count)[place]
    order = np.argsort(place, kind="stable")
    turn = np.arange(len(group)) - np.searchsorted(place[order], place[order])
    by_turn = order[np.argsort(turn, kind="stable")]
    return groups[by_count], np.split(by_turn, np.cumsum(np.bincount(turn))[:-1])


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
