"""Read and write the members of a group as tables store them: ``3 17``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from falcon_dvc.activations.rows import Rows

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


def incidence(members: Sequence[Sequence[int] | np.ndarray], features: int) -> sparse.csr_array:
    """Mark the features of each group as a sparse 0/1 matrix (groups, features)."""
    group = np.repeat(np.arange(len(members)), [len(group) for group in members])
    column = np.array([member for group in members for member in group], dtype=int)
    return sparse.csr_array((np.ones(len(group)), (group, column)), shape=(len(members), features))


def mean_of_members(activations: Rows, members: Iterable[str], images: np.ndarray) -> np.ndarray:
    """Compute the activations of groups on some images, (images, groups): the mean of the members. No other feature is read.

    Parameters
    ----------
    activations : of the features, (all images, features). images : rows of the images.
    """
    lists = member_lists(members)
    used = np.unique(np.concatenate([np.zeros(0, dtype=int), *lists])).astype(int)
    of_groups = incidence([np.searchsorted(used, group) for group in lists], len(used))
    means, size = np.empty((len(images), len(lists))), of_groups.sum(axis=1)
    for start in range(0, len(images), IMAGES_AT_ONCE):
        rows = slice(start, start + IMAGES_AT_ONCE)
        means[rows] = (of_groups @ activations.columns(used, images[rows]).T.astype(np.float64)).T / size
    return means
