"""Score the words that the crops of a group share (step 10, Eq. 1)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse
from scipy.special import ndtri

Entries = tuple[Int[np.ndarray, " entries"], Int[np.ndarray, " entries"]]  # groups and concepts


@dataclass(frozen=True)
class Mentions:
    """Hold the concepts that each caption of the corpus mentions.

    Attributes
    ----------
    captions : ids of the captions, ascending.
    incidence : sparse 0/1 matrix, captions x concepts.
    phrase : True for noun phrases, False for words.
    """

    captions: Int[np.ndarray, " captions"]
    incidence: sparse.csr_array
    phrase: Bool[np.ndarray, " concepts"]


def crop_scores(
    captions: Int[np.ndarray, "crops k"], weights: Float[np.ndarray, "crops k"], mentions: Mentions
) -> sparse.csr_array:
    """Compute ``s_x(w) = max p(c | x)`` over the retrieved captions c that mention w; sparse (crops, concepts)."""
    retrieved = captions >= 0
    crop, slot = np.nonzero(retrieved)
    caption = np.searchsorted(mentions.captions, captions[crop, slot])
    start, stop = mentions.incidence.indptr[caption], mentions.incidence.indptr[caption + 1]
    entry = np.repeat(np.arange(len(crop)), stop - start)
    offset = np.arange(len(entry)) - np.repeat(np.cumsum(stop - start) - (stop - start), stop - start)
    concept = mentions.incidence.indices[start[entry] + offset]
    return _largest(crop[entry], concept, weights[crop, slot][entry], (len(captions), mentions.incidence.shape[1]))


def _largest(row: np.ndarray, column: np.ndarray, value: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """Build a sparse matrix of the largest value of each cell."""
    order = np.lexsort((-value, column, row))
    row, column, value = row[order], column[order], value[order]
    first = np.ones(len(row), dtype=bool)
    first[1:] = (row[1:] != row[:-1]) | (column[1:] != column[:-1])
    return sparse.csr_array((value[first], (row[first], column[first])), shape=shape)


def group_scores(scores: sparse.csr_array, group: Int[np.ndarray, " crops"], groups: int) -> sparse.csr_array:
    """Compute Eq. 1: ``score(w) = mean over the group's crops of s_x(w)``; sparse (groups, concepts)."""
    size = np.maximum(np.bincount(group, minlength=groups), 1)
    average = sparse.csr_array((1.0 / size[group], (group, np.arange(len(group)))), shape=(groups, scores.shape[0]))
    return sparse.csr_array(average @ scores)


@dataclass(frozen=True)
class ConceptScores:
    """Hold every concept of every group, one entry a row.

    Attributes
    ----------
    group, concept : the entry's group and concept numbers.
    score : Eq. 1 over the highly activating crops.
    low : Eq. 1 over the lowly activating crops.
    prior : Eq. 1 over random crops.
    support : number of highly activating crops with the concept.
    error : standard error of `score` over the crops; NaN for a group with a single crop.
    """

    group: Int[np.ndarray, " entries"]
    concept: Int[np.ndarray, " entries"]
    score: Float[np.ndarray, " entries"]
    low: Float[np.ndarray, " entries"]
    prior: Float[np.ndarray, " entries"]
    support: Int[np.ndarray, " entries"]
    error: Float[np.ndarray, " entries"]

    def __len__(self) -> int:
        return len(self.group)


def score_concepts(
    high: sparse.csr_array,
    high_group: np.ndarray,
    low: sparse.csr_array,
    low_group: np.ndarray,
    random: sparse.csr_array,
    groups: int,
    more: Entries | None = None,
) -> ConceptScores:
    """Score every concept that the highly activating crops of a group mention.

    Parameters
    ----------
    high, low, random : `crop_scores` of the highly activating, lowly activating and random crops.
    high_group, low_group : each crop's group; a group without lowly activating crops has low score 0.
    more : groups and concepts that get an entry, too; without a mention, the score is 0.
    """
    mean = group_scores(high, high_group, groups)
    where = group, concept = _with_more(mean.tocoo().coords, more, mean.shape)
    score = values_at(mean, *where)
    square = values_at(group_scores(high.power(2), high_group, groups), *where)
    size = np.maximum(np.bincount(high_group, minlength=groups), 1)[group]
    share = values_at(group_scores(_present(high), high_group, groups), *where)
    spread = np.sqrt(np.maximum(square - score**2, 0) / np.maximum(size - 1, 1))
    spread[size < 2] = np.nan  # one crop has no spread
    low_score = values_at(group_scores(low, low_group, groups), *where)
    prior = np.asarray(random.mean(axis=0)).reshape(-1) if random.shape[0] else np.zeros(high.shape[1])
    support = np.rint(share * size).astype(int)
    return ConceptScores(group, concept, score, low_score, prior[concept], support, spread)


def _with_more(mentioned: Entries, more: Entries | None, shape: tuple[int, int]) -> Entries:
    """Append the entries of `more` that are not mentioned."""
    if more is None:
        return mentioned
    cells = [np.ravel_multi_index(entries, shape) for entries in (mentioned, more)]
    group, concept = np.unravel_index(np.concatenate([cells[0], np.setdiff1d(cells[1], cells[0])]), shape)
    return group, concept


def values_at(matrix: sparse.csr_array, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return the values of the given cells.

    For no cells, SciPy would return a sparse array.
    """
    return matrix[row, column] if len(row) else np.zeros(0)


def _present(scores: sparse.csr_array) -> sparse.csr_array:
    return sparse.csr_array(((scores.data > 0).astype(float), scores.indices, scores.indptr), shape=scores.shape)


def ranks_within(
    *keys: np.ndarray, value: Float[np.ndarray, " entries"], tie: np.ndarray
) -> Int[np.ndarray, " entries"]:
    """Rank each entry, from 0, among those with the same `keys`.

    The largest value comes first; equal values are ordered by `tie`, smallest first.
    """
    order = np.lexsort((tie, -np.round(value, 12), *keys[::-1]))
    new = np.ones(len(order), dtype=bool)
    if len(order):
        new[1:] = np.any([key[order][1:] != key[order][:-1] for key in keys], axis=0)
    position = np.arange(len(order))
    ranks = np.empty(len(order), dtype=int)
    ranks[order] = position - np.maximum.accumulate(np.where(new, position, 0))
    return ranks


def extracted(
    scores: sparse.csr_array, group: np.ndarray, groups: int, phrase: np.ndarray, top: int
) -> sparse.csr_array:
    """Select the `top` words and `top` noun phrases of each group's crops by Eq. 1: 0/1, sparse (groups, concepts)."""
    mean = group_scores(scores, group, groups).tocoo()
    row, concept = mean.coords
    kept = ranks_within(row, phrase[concept].astype(int), value=mean.data, tie=concept) < top
    return sparse.csr_array((np.ones(int(kept.sum())), (row[kept], concept[kept])), shape=mean.shape)


def interval(score: np.ndarray, error: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute the normal interval of a mean over crops, cut to [0, 1]; NaN where the error is."""
    reach = ndtri(0.5 + confidence / 2) * error
    return np.clip(score - reach, 0, 1), np.clip(score + reach, 0, 1)
