"""Form feature groups (step 3) and test whether their members fire together more often than chance."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy import sparse
from scipy.special import bdtrc, rel_entr

Fires = Bool[np.ndarray, "images features"]


@dataclass(frozen=True)
class Groups:
    """Hold feature groups in a fixed order: by size, then by members.

    Attributes
    ----------
    sets : which features belong to each group: sparse bool (groups, features).
    images : which images fire each group.
    """

    sets: sparse.csr_array
    images: Bool[np.ndarray, "groups images"]

    def __len__(self) -> int:
        return self.sets.shape[0]

    @property
    def members(self) -> Bool[np.ndarray, "groups features"]:
        """The features of each group as a dense matrix, for a few groups."""
        return self.sets.toarray()

    @property
    def size(self) -> Int[np.ndarray, " groups"]:
        """Number of features of each group."""
        return np.diff(self.sets.indptr)

    def take(self, rows: np.ndarray | slice) -> "Groups":
        """Return the groups at `rows`."""
        return Groups(self.sets[rows], self.images[rows])


def single_features(fires: Fires, min_images: int, chosen: Int[np.ndarray, " chosen"] | None = None) -> Groups:
    """Return each feature with enough images as a group of one.

    Other features may fire on these images too.

    Parameters
    ----------
    chosen : features that may be returned, ascending; None: all.
    """
    enough = fires.sum(axis=0) >= min_images
    kept = np.flatnonzero(enough) if chosen is None else chosen[enough[chosen]]
    return Groups(sets_of(kept[:, None], fires.shape[1]), np.ascontiguousarray(fires[:, kept].T))


def sets_of(members: Int[np.ndarray, "groups size"], features: int) -> sparse.csr_array:
    """Mark the features of each group: sparse bool (groups, features). A feature may be named more than once."""
    row = np.repeat(np.arange(len(members)), members.shape[1])
    sets = sparse.csr_array((np.ones(members.size, dtype=bool), (row, members.ravel())), shape=(len(members), features))
    sets.sum_duplicates()
    return sets


def exact_groups(fires: Fires, min_images: int) -> Groups:
    """Group images with the *identical* set of firing features (released).

    A single feature is the set in which only this feature fires.
    """
    which, first = _sets(fires)
    kept = np.flatnonzero(np.bincount(which[which >= 0], minlength=len(first)) >= min_images)
    kept = kept[_order(fires[first[kept]])]
    return Groups(sparse.csr_array(fires[first[kept]]), which[None, :] == kept[:, None])


def _sets(fires: Fires) -> tuple[Int[np.ndarray, " images"], Int[np.ndarray, " sets"]]:
    """Number the set of each image (-1 if nothing fires), and find the first image of each set.

    Hashing is faster here than sorting, which compares whole rows.
    """
    packed = np.packbits(fires, axis=1)
    firing = np.flatnonzero(packed.any(axis=1))
    rows = packed[firing].view(np.dtype((np.void, packed.shape[1]))).reshape(-1).astype(object)
    which = np.full(len(fires), -1)
    which[firing] = pd.factorize(rows)[0]
    return which, firing[np.unique(which[firing], return_index=True)[1]]


def _order(members: Bool[np.ndarray, "groups features"]) -> Int[np.ndarray, " groups"]:
    """Order groups by size, then by members, so that the result does not depend on the order of discovery."""
    # Of two sets of one size, the set that contains the first differing feature comes first.
    without = np.packbits(~members, axis=1)
    return np.lexsort((*without.T[::-1], members.sum(axis=1)))


def among(groups: Groups, chosen: Int[np.ndarray, " chosen"]) -> Groups:
    """Return the groups all of whose members are chosen."""
    other = np.ones(groups.members.shape[1], dtype=bool)
    other[chosen] = False
    return groups.take(np.flatnonzero(groups.sets @ other.astype(int) == 0))


def together(first: Groups, second: Groups) -> Groups:
    """Concatenate two collections of groups."""
    sets = sparse.csr_array(sparse.vstack([first.sets, second.sets], format="csr"))
    return Groups(sets, np.concatenate([first.images, second.images]))


def against_independence(
    groups: Groups, fires: Fires
) -> tuple[Float[np.ndarray, " groups"], Float[np.ndarray, " groups"], Float[np.ndarray, " groups"]]:
    """Compare how often the members of each group fire together with independent features.

    Returns
    -------
    lift, p_value, strength
        Support over the support expected of independent features, the binomial probability of at least that support, and
        the log-likelihood ratio (nats).
    """
    prevalence = np.maximum(fires.mean(axis=0), 1e-12)
    expected = np.exp(groups.sets.astype(np.float64) @ np.log(prevalence))
    support = groups.images.sum(axis=1)
    p_value = probability_of_at_least(support, len(fires), expected)
    return support / (expected * len(fires)), p_value, log_likelihood_ratio(support, len(fires), expected)


def probability_of_at_least(support: np.ndarray, images: int, expected: np.ndarray) -> np.ndarray:
    """Compute the binomial probability of at least this `support` among the `images`.

    Each image counts with probability `expected`.
    """
    return np.where(support > 0, bdtrc(np.maximum(support, 1) - 1.0, images, expected), 1.0)


def log_likelihood_ratio(support: np.ndarray, images: int, expected: np.ndarray) -> np.ndarray:
    """Compute the log-likelihood ratio of the observed share of images against the expected one, in nats.

    The ratio is ``images * KL(observed || expected)``, negative if the observed share is smaller. It is the exponent
    of the binomial tail, and still ranks groups whose tail underflows to 0.
    """
    observed = support / max(images, 1)
    divergence = rel_entr(observed, expected) + rel_entr(1 - observed, 1 - expected)
    return images * divergence * np.sign(observed - expected)


def discoveries(
    p_values: Float[np.ndarray, " tests"], rate: float, tests: int | None = None
) -> Bool[np.ndarray, " tests"]:
    """Find the tests that pass at a false discovery rate (Benjamini-Hochberg).

    Parameters
    ----------
    tests : number of all tests, if larger than the number of `p_values`. The other tests have a probability of 1.
    """
    order = np.argsort(p_values, kind="stable")
    raised = p_values[order] * (len(p_values) if tests is None else tests) / np.arange(1, len(p_values) + 1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.minimum.accumulate(raised[::-1])[::-1], 1.0)
    return adjusted <= rate


def strongest_in_turn(
    size: Int[np.ndarray, " sets"],
    strength: Float[np.ndarray, " sets"],
    eligible: Bool[np.ndarray, " sets"],
    alike: Callable[[int], Bool[np.ndarray, " sets"]],
    most: int,
) -> tuple[Int[np.ndarray, " chosen"], Bool[np.ndarray, " sets"]]:
    """Choose the strongest set of each size in turn, and skip the sets that are alike to a chosen one.

    Parameters
    ----------
    eligible : sets that may be chosen.
    alike : returns the sets that are near-duplicates of the set at a row, including that set.
    most : number of sets to choose.

    Returns
    -------
    chosen, left
        Rows of the chosen sets, ascending. Mask of the eligible sets beyond `most` that are alike to no chosen set.
    """
    chosen: list[int] = []
    left = eligible.copy()
    while len(chosen) < most and left.any():
        rows = np.flatnonzero(left & (size == _next_size(size[left], size[chosen])))
        row = int(rows[strength[rows].argmax()])
        chosen.append(row)
        left &= ~alike(row)
    return np.array(sorted(chosen), dtype=np.int64), left


def _next_size(left: np.ndarray, chosen: np.ndarray) -> int:
    """Return the remaining size with the fewest chosen sets; of equal counts, the smallest size."""
    sizes = np.unique(left)
    return int(sizes[(chosen[:, None] == sizes).sum(axis=0).argmin()])


def group_name(members: list[int]) -> str:
    """Return a short stable name: ``f12`` for a single feature, else ``g`` and eight digits of a hash of the members."""
    if len(members) == 1:
        return f"f{members[0]}"
    text = " ".join(str(member) for member in sorted(members))
    return "g" + hashlib.sha256(text.encode("ascii")).hexdigest()[:8]
