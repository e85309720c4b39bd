"""Merge words that the image-text encoder does not distinguish into one concept.

Otherwise synonyms divide a concept's score among them. This is not part of FALCON, which scores every word alone.
There "blue" loses rank if captions alternate between "blue" and "azure".
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from falcon_dvc.embeddings import Rows

CAPTIONS_AT_ONCE = 65_536  # captions whose embeddings are in memory
PAIRS_AT_ONCE = 1 << 22  # pairs of words that are compared at once
ROUNDING = 1e-9  # rounding error of a mean of unit embeddings


def word_directions(captions: Rows, incidence: sparse.csr_array) -> Float[np.ndarray, "words dim"]:
    """Compute the unit direction of each word: the mean of the captions that mention it, minus the mean of all captions.

    A word that all captions mention has no direction and gets zero.

    Parameters
    ----------
    captions : (captions, dim) text embeddings; read in blocks, so that they need not fit the memory.
    incidence : sparse 0/1, captions x words; every word is mentioned.
    """
    rows, dim = captions.shape
    centre, total = np.zeros(dim), np.zeros((incidence.shape[1], dim))
    for block in _blocks(rows, CAPTIONS_AT_ONCE):
        centre += captions[block].sum(axis=0, dtype=np.float64)
    centre /= max(rows, 1)
    for block in _blocks(rows, CAPTIONS_AT_ONCE):
        total += incidence[block].T @ (captions[block].astype(np.float64) - centre)
    mean = total / np.asarray(incidence.sum(axis=0)).reshape(-1, 1)
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    return np.divide(mean, length, out=np.zeros_like(mean), where=length > ROUNDING)


def _blocks(rows: int, size: int) -> Iterator[slice]:
    """Yield slices of `size` rows."""
    return (slice(start, start + size) for start in range(0, rows, size))


def leaders(captions: Rows, incidence: sparse.csr_array, similarity: float, mentions: int) -> Int[np.ndarray, " words"]:
    """Find for each word the most frequent word with the same meaning, often the word itself.

    Words are visited from the most frequent one down. A word follows the closest leader whose direction has at least
    the cosine `similarity`. It does not follow a leader that often stands in the same caption ("hot", "dog"), because
    synonyms replace each other. Words with fewer than `mentions` captions have no precise direction and stay alone.
    """
    count = np.asarray(incidence.sum(axis=0)).reshape(-1).astype(int)
    frequent = np.flatnonzero(count >= mentions)
    order = frequent[np.argsort(-count[frequent], kind="stable")]
    by_frequency = incidence[:, order]
    leader = np.arange(incidence.shape[1])
    leading: list[int] = []
    for word, alike in enumerate(_alike(word_directions(captions, by_frequency), by_frequency, count[order])):
        best = leading[int(np.argmax(alike[leading]))] if leading else word
        if best != word and alike[best] >= similarity:
            leader[order[word]] = order[best]
        else:
            leading.append(word)
    return leader


def _alike(
    directions: np.ndarray, incidence: sparse.csr_array, count: np.ndarray
) -> Iterator[Float[np.ndarray, " words"]]:
    """Yield the cosines of each word to all words; -1 for words that often stand in the same caption."""
    together = (incidence.T @ incidence).tocsr()
    for block in _blocks(len(count), max(PAIRS_AT_ONCE // max(len(count), 1), 1)):
        beside = together[block].toarray() / np.maximum(count[block], 1)[:, None]
        yield from np.where(beside < 0.5, np.round(directions[block] @ directions.T, 9), -1.0)
