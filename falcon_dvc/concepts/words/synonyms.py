"""Words that the image-text encoder cannot tell apart are one concept: else synonyms share a concept's score between them.

Not part of FALCON: there every word is scored alone, so "blue" is outranked where captions say now "blue", now "azure".
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from falcon_dvc.embeddings import Rows

CAPTIONS_AT_ONCE = 65_536  # of their embeddings in memory
PAIRS_AT_ONCE = 1 << 22  # of words that are compared
ROUNDING = 1e-9  # of a mean of unit embeddings


def word_directions(captions: Rows, incidence: sparse.csr_array) -> Float[np.ndarray, "words dim"]:
    """Unit direction of each word: the mean of the captions that mention it, minus the mean of all captions.

    Zero for a word that is no direction: all captions mention it.

    Parameters
    ----------
    captions : (captions, dim) text embeddings; read in parts, so that they need not fit the memory.
    incidence : sparse 0/1, captions x words; every word is mentioned.
    """
    rows, dim = captions.shape
    centre, total = np.zeros(dim), np.zeros((incidence.shape[1], dim))
    for part in _parts(rows, CAPTIONS_AT_ONCE):
        centre += captions[part].sum(axis=0, dtype=np.float64)
    centre /= max(rows, 1)
    for part in _parts(rows, CAPTIONS_AT_ONCE):
        total += incidence[part].T @ (captions[part].astype(np.float64) - centre)
    mean = total / np.asarray(incidence.sum(axis=0)).reshape(-1, 1)
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    return np.divide(mean, length, out=np.zeros_like(mean), where=length > ROUNDING)


def _parts(rows: int, size: int) -> Iterator[slice]:
    """Stretches of `size` rows."""
    return (slice(start, start + size) for start in range(0, rows, size))


def leaders(captions: Rows, incidence: sparse.csr_array, similarity: float, mentions: int) -> Int[np.ndarray, " words"]:
    """For each word the most frequent word that means the same (often itself).

    From the most frequent word down, a word follows the closest leader whose direction has at least the cosine `similarity`,
    unless the two often stand in the same caption ("hot", "dog"): synonyms replace each other. Words with fewer than
    `mentions` captions have too vague a direction and stay alone.
    """
    count = np.asarray(incidence.sum(axis=0)).reshape(-1).astype(int)
    frequent = np.flatnonzero(count >= mentions)
    order = frequent[np.argsort(-count[frequent], kind="stable")]
    some = incidence[:, order]
    leader = np.arange(incidence.shape[1])
    leading: list[int] = []
    for word, alike in enumerate(_alike(word_directions(captions, some), some, count[order])):
        best = leading[int(np.argmax(alike[leading]))] if leading else word
        if best != word and alike[best] >= similarity:
            leader[order[word]] = order[best]
        else:
            leading.append(word)
    return leader


def _alike(
    directions: np.ndarray, incidence: sparse.csr_array, count: np.ndarray
) -> Iterator[Float[np.ndarray, " words"]]:
    """For each word its cosines to all; -1 to those that it often stands beside."""
    together = (incidence.T @ incidence).tocsr()
    for part in _parts(len(count), max(PAIRS_AT_ONCE // max(len(count), 1), 1)):
        beside = together[part].toarray() / np.maximum(count[part], 1)[:, None]
        yield from np.where(beside < 0.5, np.round(directions[part] @ directions.T, 9), -1.0)
