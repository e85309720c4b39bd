"""Words that the image-text encoder cannot tell apart are one concept: else synonyms share a concept's score between them.

Not part of FALCON: there every word is scored alone, so "blue" is outranked where captions say now "blue", now "azure".
"""

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse


def word_directions(
    captions: Float[np.ndarray, "captions dim"], incidence: sparse.csr_array
) -> Float[np.ndarray, "words dim"]:
    """Unit direction of each word: the mean of the captions that mention it, minus the mean of all captions.

    Parameters
    ----------
    captions : text embeddings.
    incidence : sparse 0/1, captions x words; every word is mentioned.
    """
    centred = captions.astype(np.float64) - captions.mean(axis=0, dtype=np.float64)
    mean = (incidence.T @ centred) / np.asarray(incidence.sum(axis=0)).reshape(-1, 1)
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    return np.divide(mean, length, out=np.zeros_like(mean), where=length > 0)


def leaders(
    captions: Float[np.ndarray, "captions dim"], incidence: sparse.csr_array, similarity: float, mentions: int
) -> Int[np.ndarray, " words"]:
    """For each word the most frequent word that means the same (often itself).

    From the most frequent word down, a word follows the closest leader whose direction has at least the cosine `similarity`,
    unless the two often stand in the same caption ("hot", "dog"): synonyms replace each other. Words with fewer than
    `mentions` captions have too vague a direction and stay alone.
    """
    count = np.asarray(incidence.sum(axis=0)).reshape(-1).astype(int)
    frequent = np.flatnonzero(count >= mentions)
    order = frequent[np.argsort(-count[frequent], kind="stable")]
    directions = word_directions(captions, incidence[:, order])
    beside = (incidence[:, order].T @ incidence[:, order]).toarray() / np.maximum(count[order], 1)[:, None]
    alike = np.where(beside < 0.5, np.round(directions @ directions.T, 9), -1.0)
    leader = np.arange(incidence.shape[1])
    leading: list[int] = []
    for word in range(len(order)):
        best = leading[int(np.argmax(alike[word, leading]))] if leading else word
        if best != word and alike[word, best] >= similarity:
            leader[order[word]] = order[best]
        else:
            leading.append(word)
    return leader
