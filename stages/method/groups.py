"""Feature groups (step 3): features that fire on the same images, and whether that is more than chance."""

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import binom, false_discovery_control

Fires = Bool[np.ndarray, "images features"]


@dataclass(frozen=True)
class Groups:
    """Feature groups in a fixed order: by size, then by members.

    Attributes
    ----------
    members : which features belong to each group.
    images : which images fire each group.
    """

    members: Bool[np.ndarray, "groups features"]
    images: Bool[np.ndarray, "groups images"]

    def __len__(self) -> int:
        return len(self.members)

    def take(self, rows: np.ndarray) -> "Groups":
        """The groups at `rows`."""
        return Groups(self.members[rows], self.images[rows])


def single_features(fires: Fires, min_images: int) -> Groups:
    """Every feature with enough images as a group of one, whatever else fires on them."""
    kept = np.flatnonzero(fires.sum(axis=0) >= min_images)
    return Groups(np.eye(fires.shape[1], dtype=bool)[kept], np.ascontiguousarray(fires.T[kept]))


def exact_groups(fires: Fires, min_images: int) -> Groups:
    """Images with the *identical* set of firing features (released; a single feature is the set in which only it fires)."""
    patterns, which = np.unique(fires, axis=0, return_inverse=True)
    which = which.reshape(-1)
    enough = np.bincount(which, minlength=len(patterns)) >= min_images
    kept = np.flatnonzero(enough & patterns.any(axis=1))
    return _in_order(Groups(patterns[kept], which[None, :] == kept[:, None]))


def cofiring_groups(fires: Fires, min_images: int, max_size: int, chunk: int = 1024) -> Groups:
    """Closed sets of two to `max_size` features that fire *together* on at least `min_images` images.

    Closed: no further feature fires on all the set's images, so no set is listed whose images are exactly those of a larger one.
    Level by level: a set is extended by features after its last one; the supports of all its extensions are one matrix product.

    Parameters
    ----------
    fires : which image fires which feature.
    chunk : sets extended at once; bounds the memory to ``chunk * (images + features) * 4`` bytes.
    """
    columns = fires.astype(np.float32)
    level = np.flatnonzero(fires.sum(axis=0) >= min_images)[:, None]
    closed: list[np.ndarray] = []
    for size in range(1, max_size + 1):
        extended = [_extend(columns, level[start : start + chunk], min_images) for start in range(0, len(level), chunk)]
        if size > 1:
            closed += [_membership(sets, fires.shape[1]) for _, sets in extended]
        level = np.concatenate([longer for longer, _ in extended]) if extended else level[:0]
        if not len(level):
            break
    members = np.concatenate(closed) if closed else np.zeros((0, fires.shape[1]), dtype=bool)
    return _in_order(Groups(members, _images_of(members, columns)))


def _extend(
    columns: Float[np.ndarray, "images features"], level: Int[np.ndarray, "sets size"], min_images: int
) -> tuple[np.ndarray, np.ndarray]:
    """Frequent one-feature extensions of the sets, and those sets that are closed."""
    together = columns[:, level].prod(axis=2)
    support = together.T @ columns
    rows = np.arange(len(level))[:, None]
    own = support[rows[:, 0], level[:, 0]].copy()
    support[rows, level] = -1
    sets, feature = np.nonzero((support >= min_images) & (np.arange(columns.shape[1]) > level[:, -1:]))
    return np.column_stack([level[sets], feature]), level[support.max(axis=1) < own]


def _membership(sets: np.ndarray, features: int) -> np.ndarray:
    members = np.zeros((len(sets), features), dtype=bool)
    np.put_along_axis(members, sets, True, axis=1)
    return members


def _images_of(members: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Images on which all the members of each group fire."""
    return members.astype(np.float32) @ columns.T == members.sum(axis=1, keepdims=True)


def _in_order(groups: Groups) -> Groups:
    """Sorted by size, then by members, so that the order of discovery does not show."""
    # Of two sets of one size, the one that has the first feature in which they differ comes first.
    without = np.packbits(~groups.members, axis=1)
    return groups.take(np.lexsort((*without.T[::-1], groups.members.sum(axis=1))))


def together(first: Groups, second: Groups) -> Groups:
    """Both collections in one."""
    return Groups(np.concatenate([first.members, second.members]), np.concatenate([first.images, second.images]))


def cofiring_significance(
    groups: Groups, fires: Fires
) -> tuple[Float[np.ndarray, " groups"], Float[np.ndarray, " groups"]]:
    """How much more often than independent features a group's members fire together.

    Returns
    -------
    lift, p_value
        Support over the support expected of independent features, and the binomial probability of at least that support.
    """
    prevalence = np.maximum(fires.mean(axis=0), 1e-12)
    expected = np.exp(groups.members.astype(np.float64) @ np.log(prevalence))
    support = groups.images.sum(axis=1)
    return support / (expected * len(fires)), binom.sf(support - 1, len(fires), expected)


def discoveries(p_values: Float[np.ndarray, " tests"], rate: float) -> Bool[np.ndarray, " tests"]:
    """Tests that pass at a false discovery rate (Benjamini-Hochberg)."""
    return false_discovery_control(p_values) <= rate if len(p_values) else np.zeros(0, dtype=bool)


def group_name(members: list[int]) -> str:
    """Short stable name: ``f12`` for a single feature, else ``g`` and eight digits of a hash of the members."""
    if len(members) == 1:
        return f"f{members[0]}"
    text = " ".join(str(member) for member in sorted(members))
    return "g" + hashlib.sha256(text.encode("ascii")).hexdigest()[:8]
