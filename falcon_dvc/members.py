"""Read and write the members of a group as tables store them: ``3 17``."""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import sparse

IMAGES_AT_ONCE = 1024  # images whose activations are in memory in double precision


def as_text(members: Iterable[int]) -> str:
    """Write feature numbers as one text, separated by spaces."""
    return " ".join(map(str, members))


def member_lists(texts: Iterable[str]) -> list[list[int]]:
    """Read the feature numbers of each group."""
    return [[int(member) for member in text.split()] for text in texts]


def membership(texts: Iterable[str], features: int) -> sparse.csr_array:
    """Read the features of each group as a sparse 0/1 matrix (groups, features)."""
    return incidence(member_lists(texts), features)


def incidence(members: Sequence[Sequence[int]], features: int) -> sparse.csr_array:
    """Mark the features of each group as a sparse 0/1 matrix (groups, features)."""
    group = np.repeat(np.arange(len(members)), [len(group) for group in members])
    column = np.array([member for group in members for member in group], dtype=int)
    return sparse.csr_array((np.ones(len(group)), (group, column)), shape=(len(members), features))


def mean_of_members(activations: np.ndarray, members: Iterable[str]) -> np.ndarray:
    """Compute the activations of groups, (images, groups), from those of features, (images, features): the mean of the members."""
    of_groups = membership(members, activations.shape[1])
    means, size = np.empty((len(activations), of_groups.shape[0])), of_groups.sum(axis=1)
    for start in range(0, len(activations), IMAGES_AT_ONCE):
        rows = slice(start, start + IMAGES_AT_ONCE)
        means[rows] = (of_groups @ activations[rows].T.astype(np.float64)).T / size
    return means
