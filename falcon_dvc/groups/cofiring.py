"""Closed sets of features that fire together beyond chance (step 3), at the scale of thousands of features."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int, UInt

from falcon_dvc.groups.groups import (
    Fires,
    Groups,
    discoveries,
    log_likelihood_ratio,
    probability_of_at_least,
    strongest_in_turn,
)

Sets = Int[np.ndarray, "sets size"]

SAMPLE = 64  # images of a set that rule out nearly every feature as firing on all of them
WORKING_MEMORY = 2**23  # bytes of one step's arrays: what fits a processor's cache is also the fastest


@dataclass(frozen=True)
class Search:
    """What became of the sets of one size, in numbers.

    Attributes
    ----------
    tested : sets whose significance was in question, those on too few images included.
    significant : of these, the ones that pass at the false discovery rate.
    cut_off : of these, the weakest ones, beyond the bound: neither listed nor grown.
    not_closed : of the rest, those whose images are exactly those of a larger set: grown, but not listed.
    """

    tested: int
    significant: int
    cut_off: int
    not_closed: int


@dataclass(frozen=True)
class CofiringSets:
    """Closed sets of features that fire together beyond chance, by size, then by members; their images are not kept.

    Attributes
    ----------
    sets : features of each set, ascending; a set smaller than the largest repeats its last feature.
    size : number of features.
    support : images on which all features of a set fire.
    lift : support over the one expected of independent features.
    lift_beyond : support over the one expected of the set's best split into two parts independent of each other.
    p_value : binomial probability of at least that support under the best split.
    strength : log-likelihood ratio of the support against the best split, in nats: ranks where the p-value underflows.
    search : what was tested, dropped and cut off, for each size.
    """

    sets: Sets
    size: Int[np.ndarray, " sets"]
    support: Int[np.ndarray, " sets"]
    lift: Float[np.ndarray, " sets"]
    lift_beyond: Float[np.ndarray, " sets"]
    p_value: Float[np.ndarray, " sets"]
    strength: Float[np.ndarray, " sets"]
    search: dict[int, Search]

    def __len__(self) -> int:
        return len(self.sets)


@dataclass(frozen=True)
class _Firing:
    """Firing as the search reads it.

    Attributes
    ----------
    columns : a bit for each image, in words of 64.
    rows : a bit for each feature.
    pairs : images on which both of two features fire; on the diagonal, those of one feature.
    """

    columns: UInt[np.ndarray, "features words"]
    rows: UInt[np.ndarray, "images bytes"]
    pairs: Int[np.ndarray, "features features"]
    memory: int

    @property
    def images(self) -> int:
        return len(self.rows)

    @property
    def features(self) -> int:
        return len(self.columns)

    def support(self, sets: Sets) -> Int[np.ndarray, " sets"]:
        """Images on which all the features of each set fire."""
        if sets.shape[1] <= 2:
            return self.pairs[sets[:, 0], sets[:, -1]].astype(np.int64)
        return _support(self.columns, sets, self.memory)


@dataclass(frozen=True)
class _Level:
    """Sets of one size with the share of images expected of each one's best split."""

    sets: Sets
    support: Int[np.ndarray, " sets"]
    expected: Float[np.ndarray, " sets"]
    p_value: Float[np.ndarray, " sets"]

    def take(self, rows: np.ndarray) -> "_Level":
        return _Level(self.sets[rows], self.support[rows], self.expected[rows], self.p_value[rows])


def cofiring_sets(
    fires: Fires,
    min_images: int,
    max_size: int,
    fdr: float,
    most: int,
    max_jaccard: float = 1.0,
    memory: int = WORKING_MEMORY,
) -> CofiringSets:
    """Closed sets of two to `max_size` features that fire *together* on at least `min_images` images, beyond chance.

    Closed: no further feature, of *all* features, fires on all the set's images, so no set is listed whose images are
    exactly those of a larger one. Beyond chance: more often than if the set fell into two parts, whichever they are, that
    fire independently of each other (a productive itemset), so a triple must beat its best pair times the third feature's
    prevalence; at a false discovery rate (Benjamini-Hochberg) over all sets of its size that are tested.

    Level by level (Apriori): all pairs are tested, then every set of one more feature *all* of whose sub-sets of one feature
    fewer are significant. So the result is complete but for sets with a sub-set that is not significant (features that only
    depend on each other three at a time), and those that the bound `most` cuts off; how many it cut off is counted. With
    ``fdr=1`` and no bound, it is all closed frequent sets.

    Parameters
    ----------
    fires : which image fires which feature.
    most : sets of each size that are kept, listed and grown; the strongest, near-duplicates of a member last.
    max_jaccard : a set with at least this share of a member's images is a near-duplicate of that member.
    memory : bytes of the arrays of one step. Besides these: two bits for each image and feature, four bytes for each
        pair of features, and about sixty for each pair that is tested.

    References
    ----------
    G. I. Webb, "Self-sufficient itemsets: an approach to screening potentially interesting associations between items",
    ACM TKDD 4(1), 2010 (productive itemsets).
    """
    firing = _packed(fires, memory)
    level, listed, search = None, [], {}
    for size in range(2, max_size + 1):
        candidates = _pairs(firing, min_images) if level is None else _grown(level.sets, firing)
        found = _significant(firing, *candidates, min_images, fdr)
        level = found.take(_strongest(found, firing, most, max_jaccard))
        closed = _closed(firing, level)
        listed.append(level.take(np.flatnonzero(closed)))
        search[size] = Search(candidates[1], len(found.sets), len(found.sets) - len(closed), int((~closed).sum()))
        if not len(level.sets):
            break
    return _listed(firing, listed, search)


def _packed(fires: Fires, memory: int) -> _Firing:
    rows = np.packbits(fires, axis=1)
    return _Firing(_packed_columns(fires), rows, _pair_supports(fires, memory), memory)


def _packed_columns(fires: Fires) -> UInt[np.ndarray, "features words"]:
    """A bit for each image, filled up with zeros to whole words."""
    packed = np.packbits(fires, axis=0)
    filled = np.pad(packed, ((0, -len(packed) % 8), (0, 0)))
    return np.ascontiguousarray(filled.T).view(np.uint64)


def _pair_supports(fires: Fires, memory: int) -> Int[np.ndarray, "features features"]:
    """Images on which both of two features fire: one matrix product, a block of images at a time (exact in float32)."""
    features = fires.shape[1]
    block = min(max(memory // (4 * max(features, 1)), 1), 2**24)
    pairs = np.zeros((features, features), dtype=np.int32)
    for start in range(0, len(fires), block):
        part = fires[start : start + block].astype(np.float32)
        pairs += (part.T @ part).astype(np.int32)
    return pairs


def _support(columns: np.ndarray, sets: np.ndarray, memory: int) -> np.ndarray:
    """Images on which all the features of each set fire, counted in bits."""
    count = np.zeros(len(sets), dtype=np.int64)
    chunk = max(memory // (8 * max(columns.shape[1], 1)), 1)
    for start in range(0, len(sets), chunk):
        bits = _intersection(columns, sets[start : start + chunk])
        count[start : start + chunk] = np.bitwise_count(bits).sum(axis=1, dtype=np.int64)
    return count


def _intersection(columns: np.ndarray, sets: np.ndarray) -> np.ndarray:
    bits = columns[sets[:, 0]]
    for features in sets.T[1:]:
        bits &= columns[features]
    return bits


def _pairs(firing: _Firing, min_images: int) -> tuple[Sets, int]:
    """Pairs that fire together often enough, and how many pairs of features that fire often enough there are."""
    features = int((firing.pairs.diagonal() >= min_images).sum())
    return np.argwhere(np.triu(firing.pairs >= min_images, 1)), features * (features - 1) // 2


def _grown(sets: Sets, firing: _Firing) -> tuple[Sets, int]:
    """Sets of one more feature, all of whose sub-sets of one feature fewer are among `sets`; and how many there are."""
    linked = np.zeros((firing.features, firing.features), dtype=bool)
    for first, second in combinations(sets.T, 2):
        linked[first, second] = True
    chunk = max(firing.memory // max(firing.features * sets.shape[1], 1), 1)
    parts = [_joined(sets[start : start + chunk], linked) for start in range(0, len(sets), chunk)]
    candidates = np.concatenate([_without_new_subset(part, sets) for part in parts])
    return candidates, len(candidates)


def _joined(sets: np.ndarray, linked: np.ndarray) -> np.ndarray:
    """Each set with every later feature that is linked to all of its features (`linked` is upper triangular)."""
    row, feature = np.nonzero(linked[sets].all(axis=1))
    return np.column_stack([sets[row], feature])


def _without_new_subset(candidates: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """Candidates all of whose sub-sets of one feature fewer are known."""
    known, kept = _as_bytes(sets), np.ones(len(candidates), dtype=bool)
    for place in range(candidates.shape[1]):
        kept &= np.isin(_as_bytes(np.delete(candidates, place, axis=1)), known)
    return candidates[kept]


def _as_bytes(sets: np.ndarray) -> np.ndarray:
    """Each set as one string of bytes, to look up whole rows."""
    return np.ascontiguousarray(sets, dtype=">u4").view(f"S{4 * sets.shape[1]}").reshape(-1)


def _significant(firing: _Firing, candidates: Sets, tests: int, min_images: int, fdr: float) -> _Level:
    """Candidates on enough images that fire together more often than their best split would, by the false discovery rate."""
    support = firing.support(candidates)
    frequent = support >= min_images
    sets, support = candidates[frequent], support[frequent]
    expected = _best_split(firing, sets)
    p_value = probability_of_at_least(support, firing.images, expected)
    return _Level(sets, support, expected, p_value).take(np.flatnonzero(discoveries(p_value, fdr, tests)))


def _best_split(firing: _Firing, sets: Sets) -> Float[np.ndarray, " sets"]:
    """Largest share of images expected of two parts of a set that are independent of each other: ``max P(A) P(S - A)``."""
    places = set(range(sets.shape[1]))
    best = np.zeros(len(sets))
    for size in range(1, len(places) // 2 + 1):
        for part in combinations(places, size):
            expected = firing.support(sets[:, part]) * firing.support(sets[:, sorted(places - set(part))])
            best = np.maximum(best, expected / max(firing.images, 1) ** 2)
    return best


def _strongest(level: _Level, firing: _Firing, most: int, max_jaccard: float) -> Int[np.ndarray, " kept"]:
    """Rows of the `most` strongest sets, near-duplicates of a member after all others; in the order of the level."""
    duplicate = level.support >= max_jaccard * _rarest(firing, level.sets)
    order = np.lexsort((-log_likelihood_ratio(level.support, firing.images, level.expected), duplicate))
    return np.sort(order[:most])


def _rarest(firing: _Firing, sets: Sets) -> Int[np.ndarray, " sets"]:
    """Images of the member that fires least."""
    return firing.pairs.diagonal()[sets].min(axis=1)


def _closed(firing: _Firing, level: _Level) -> Bool[np.ndarray, " sets"]:
    """Whether no further feature fires on all the images of a set."""
    closed = np.ones(len(level.sets), dtype=bool)
    chunk = max(firing.memory // max(firing.images, SAMPLE * firing.rows.shape[1], 1), 1)
    for start in range(0, len(closed), chunk):
        part = slice(start, start + chunk)
        closed[part] = _closed_part(firing, level.sets[part], level.support[part])
    return closed


def _closed_part(firing: _Firing, sets: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Of the features that fire on a sample of each set's images, one after the other is counted on all of them."""
    further, closed = _on_sample(firing, sets), np.ones(len(sets), dtype=bool)
    waiting = np.flatnonzero(further.any(axis=1))
    while len(waiting):
        feature = further[waiting].argmax(axis=1)
        same = firing.support(np.column_stack([sets[waiting], feature])) == support[waiting]
        closed[waiting[same]] = False
        further[waiting, feature] = False
        waiting = waiting[~same & further[waiting].any(axis=1)]
    return closed


def _on_sample(firing: _Firing, sets: np.ndarray) -> Bool[np.ndarray, "sets features"]:
    """Features, other than the set's own, that fire on all of `SAMPLE` images spread over the set's."""
    bits = _intersection(firing.columns, sets).view(np.uint8)
    row, image = np.nonzero(np.unpackbits(bits, axis=1))
    count = np.bincount(row, minlength=len(sets))
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    sampled = place * SAMPLE % count[row] < SAMPLE
    first = np.searchsorted(row[sampled], np.arange(len(sets)))
    on_all = np.bitwise_and.reduceat(firing.rows[image[sampled]], first, axis=0)
    further = np.unpackbits(on_all, axis=1, count=firing.features).astype(bool)
    np.put_along_axis(further, sets, False, axis=1)
    return further


def _listed(firing: _Firing, levels: list[_Level], search: dict[int, Search]) -> CofiringSets:
    """All levels in one table."""
    size = np.repeat(np.array(list(search), dtype=np.int64), [len(level.sets) for level in levels])
    level = _in_one(levels)
    prevalence = firing.pairs.diagonal() / max(firing.images, 1)
    own = np.arange(level.sets.shape[1]) < size[:, None]
    independent = np.where(own, prevalence[level.sets], 1.0).prod(axis=1)
    return CofiringSets(
        sets=level.sets,
        size=size,
        support=level.support,
        lift=level.support / (independent * firing.images),
        lift_beyond=level.support / (level.expected * firing.images),
        p_value=level.p_value,
        strength=log_likelihood_ratio(level.support, firing.images, level.expected),
        search=search,
    )


def _in_one(levels: list[_Level]) -> _Level:
    """The levels one after the other; the last feature of a smaller set is repeated, which changes nothing about the set."""
    nothing = _Level(np.zeros((0, 1), np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    some = [level for level in levels if len(level.sets)] or [nothing]
    width = some[-1].sets.shape[1]
    sets = [np.pad(level.sets, ((0, 0), (0, width - level.sets.shape[1])), mode="edge") for level in some]
    columns = ([getattr(level, name) for level in some] for name in ("support", "expected", "p_value"))
    return _Level(np.concatenate(sets), *(np.concatenate(column) for column in columns))


def diverse(
    found: CofiringSets, fires: Fires, most: int, max_jaccard: float
) -> tuple[Int[np.ndarray, " chosen"], Bool[np.ndarray, " sets"]]:
    """The strongest sets of each size in turn, none with nearly the images of one of its members or of another that is chosen.

    Parameters
    ----------
    most : sets to choose.
    max_jaccard : two groups say the same from this Jaccard index of their images on (those of both over those of either).

    Returns
    -------
    chosen, left
        As `strongest_in_turn`.
    """

    def alike(row: int) -> np.ndarray:
        images = fires[:, found.sets[row]].all(axis=1)
        shared = _support(_packed_columns(fires[images]), found.sets, WORKING_MEMORY)
        return shared >= max_jaccard * (found.support + found.support[row] - shared)

    rarest = fires.sum(axis=0)[found.sets].min(axis=1)
    return strongest_in_turn(found.size, found.strength, found.support < max_jaccard * rarest, alike, most)


def as_groups(sets: Sets, fires: Fires) -> Groups:
    """Sets of features with the images on which all of a set's features fire; for the few that are explained."""
    members = np.zeros((len(sets), fires.shape[1]), dtype=bool)
    np.put_along_axis(members, sets, True, axis=1)
    images = np.ones((len(sets), len(fires)), dtype=bool)
    for features in sets.T:
        images &= fires[:, features].T
    return Groups(members, images)
