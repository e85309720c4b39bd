"""Build sets of images whose explanation is known: the images of one class, and random images.

They are the control of a measure of explanations. Sets of one class must be found explained, random sets must not.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.random import Generator
from scipy import sparse

Sets = Bool[np.ndarray, "images sets"]


def sets_of_classes(labels: np.ndarray, probe: Bool[np.ndarray, " images"], least: int) -> tuple[np.ndarray, Sets]:
    """Find the images of each class that has enough images among the probe and among the held-out images.

    Parameters
    ----------
    labels : class of each image; an image without a class has "".
    probe : True for images that choose words, False for held-out ones.
    least : images of a class among the probe images; of the held-out ones, the same share.

    Returns
    -------
    names, sets
        Names of the classes, and which image belongs to which: (images, classes).
    """
    names = np.array(sorted(set(labels.tolist()) - {""}), dtype=object)
    sets = labels[:, None] == names[None, :] if len(names) else np.zeros((len(labels), 0), dtype=bool)
    enough = (sets[probe].sum(axis=0) >= least) & (sets[~probe].sum(axis=0) * probe.sum() >= least * (~probe).sum())
    several = len(names) > 1
    return names[enough & several], sets[:, enough & several]


def random_sets(sets: Sets, probe: Bool[np.ndarray, " images"], generator: Generator) -> Sets:
    """Draw a random set for each set, with the same number of probe and of held-out images."""
    drawn = np.zeros_like(sets)
    for rows in (np.flatnonzero(probe), np.flatnonzero(~probe)):
        drawn[rows] = generator.permuted(sets[rows], axis=0)
    return drawn


def first_word(sets: Sets, scores: sparse.csr_array, words: Int[np.ndarray, " words"]) -> Int[np.ndarray, " sets"]:
    """Return the word whose mean score over a set exceeds that over all images most.

    Parameters
    ----------
    sets : at least one image each.
    scores : scores of all concepts on the same images, sparse (images, concepts).
    words : the concepts that may be chosen.

    Returns
    -------
    The number of a concept for each set.
    """
    of_words = scores[:, words]
    size: Float[np.ndarray, " sets"] = sets.sum(axis=0)
    mean = (sparse.csr_array(sets.T, dtype=np.float64) @ of_words).toarray() / size[:, None]
    prior = np.asarray(of_words.mean(axis=0)).reshape(-1)
    return words[np.round(mean - prior, 12).argmax(axis=1)]
