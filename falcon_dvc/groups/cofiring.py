"""Search for closed sets of features that fire together more often than chance (step 3).

The search handles thousands of features. Terms are those of itemset mining: support, lift, closed and productive
itemsets.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int, UInt
from scipy import sparse

from falcon_dvc.groups.groups import (
    Fires,
    Groups,
    discoveries,
    log_likelihood_ratio,
    probability_of_at_least,
    sets_of,
    strongest_in_turn,
)

Sets = Int[np.ndarray, "sets size"]

SAMPLE = 64  # images of a set; almost no further feature fires on all of them
SURELY = 0.25  # a binomial variable reaches its mean with a larger probability, if the mean is at least 1 (Greenberg and Mohri 2014)
WORKING_MEMORY = 2**23  # bytes of one step's arrays; arrays that fit a processor's cache are fastest


@dataclass(frozen=True)
class Search:
    """Count the itemsets of one size by outcome.

    Attributes
    ----------
    tested : sets that were tested, including those with too little support.
    significant : tested sets that pass at the false discovery rate.
    cut_off : significant sets beyond the bound, the weakest ones; neither listed nor grown.
    not_closed : significant sets with exactly the images of a larger set; grown, but not listed.
    """

    tested: int
    significant: int
    cut_off: int
    not_closed: int


@dataclass(frozen=True)
class CofiringSets:
    """Hold the closed, productive itemsets by size, then by members.

    Attributes
    ----------
    sets : features of each set, ascending; a set smaller than the largest repeats its last feature.
    size : number of features.
    support : number of images on which all features of a set fire.
    lift : support over the support expected of independent features.
    lift_beyond : support over the support expected of the best split into two independent parts.
    p_value : binomial probability of at least this support under the best split.
    strength : log-likelihood ratio of the support against the best split, in nats; also ranks sets whose p-value underflows.
    search : numbers of tested, dropped and cut-off sets, by size.
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
    """Hold the firing matrix in the packed form that the search reads.

    Attributes
    ----------
    columns : a bit for each image, in words of 64.
    rows : a bit for each feature.
    count : number of images on which each feature fires.
    memory : bytes of the arrays of one step.
    """

    columns: UInt[np.ndarray, "features words"]
    rows: UInt[np.ndarray, "images bytes"]
    count: Int[np.ndarray, " features"]
    memory: int

    @property
    def images(self) -> int:
        return len(self.rows)

    @property
    def features(self) -> int:
        return len(self.columns)

    def support(self, sets: Sets) -> Int[np.ndarray, " sets"]:
        """Count the images on which all features of each set fire."""
        if sets.shape[1] == 1:
            return self.count[sets[:, 0]]
        return _support(self.columns, sets, self.memory)


@dataclass(frozen=True)
class _Level:
    """Hold the itemsets of one size, with the share of images that the best split of each predicts."""

    sets: Sets
    support: Int[np.ndarray, " sets"]
    expected: Float[np.ndarray, " sets"]
    p_value: Float[np.ndarray, " sets"]

    def take(self, rows: np.ndarray) -> "_Level":
        return _Level(self.sets[rows], self.support[rows], self.expected[rows], self.p_value[rows])

    def below(self, p_value: float) -> "_Level":
        """Return the sets with at most this probability."""
        return self.take(np.flatnonzero(self.p_value <= p_value))


def cofiring_sets(
    fires: Fires,
    min_images: int,
    max_size: int,
    fdr: float,
    most: int,
    max_jaccard: float = 1.0,
    memory: int = WORKING_MEMORY,
) -> CofiringSets:
    """Find closed sets of two to `max_size` features that fire *together* on at least `min_images` images, beyond chance.

    A set is *closed* if no further feature fires on all its images. So no set is listed if a larger set has exactly
    the same images.

    A set is *productive* if it fires more often than any split into two independent parts predicts. A triple must
    therefore beat its best pair times the prevalence of the third feature. The false discovery rate
    (Benjamini-Hochberg) covers all tested sets of one size.

    The search proceeds level by level (Apriori). It tests all pairs first. It then tests each set of one more feature
    if *all* its sub-sets of one feature fewer are significant.

    The result is complete with two exceptions: sets with a sub-set that is not significant, and sets cut off by the
    bound `most`. The latter are counted. With ``fdr=1`` and no bound, the result is all closed frequent itemsets.

    Parameters
    ----------
    fires : which image fires which feature.
    most : number of sets of each size that are kept, listed and grown. The strongest come first, near-duplicates last.
    max_jaccard : a set with at least this share of a member's images is a near-duplicate of that member.
    memory : bytes of the arrays of one step. The search also needs two bits for each image and feature, and about sixty
        bytes for each pair with a probability of at most `fdr`.

    References
    ----------
    G. I. Webb, "Self-sufficient itemsets: an approach to screening potentially interesting associations between items",
    ACM TKDD 4(1), 2010 (productive itemsets).
    """
    firing = _packed(fires, memory)
    level, listed, search = None, [], {}
    for size in range(2, max_size + 1):
        if level is None:
            tests, significant = _significant_pairs(fires, firing, min_images, fdr)
        else:
            candidates = _grown(level.sets, firing)
            tests, significant = len(candidates), _significant(firing, candidates, min_images, fdr)
        level = significant.take(_strongest(significant, firing, most, max_jaccard))
        closed = _closed(firing, level)
        listed.append(level.take(np.flatnonzero(closed)))
        search[size] = Search(tests, len(significant.sets), len(significant.sets) - len(closed), int((~closed).sum()))
        if not len(level.sets):
            break
    return _listed(firing, listed, search)


def _packed(fires: Fires, memory: int) -> _Firing:
    rows = np.packbits(fires, axis=1)
    return _Firing(_packed_columns(fires), rows, fires.sum(axis=0, dtype=np.int64), memory)


def _packed_columns(fires: Fires) -> UInt[np.ndarray, "features words"]:
    """Pack each feature into one bit for each image, padded with zeros to whole words."""
    packed = np.packbits(fires, axis=0)
    filled = np.pad(packed, ((0, -len(packed) % 8), (0, 0)))
    return np.ascontiguousarray(filled.T).view(np.uint64)


def _support(columns: np.ndarray, sets: np.ndarray, memory: int) -> np.ndarray:
    """Count the images on which all features of each set fire, by bit operations."""
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


def _significant_pairs(fires: Fires, firing: _Firing, min_images: int, fdr: float) -> tuple[int, _Level]:
    """Count the pairs of features that fire often enough, and select those that pass the test.

    Sparse products count the images of all pairs of a block of features and the features after it. A pair with a
    probability above `fdr` passes no test, so it is forgotten with its block.
    """
    often = np.flatnonzero(firing.count >= min_images)
    columns = sparse.csr_array(fires[:, often], dtype=np.float32)
    rows, found = sparse.csr_array(columns.T), []
    block = max(firing.memory // (4 * max(len(often), 1)), 1)
    for start in range(0, len(often), block):
        together = (rows[start : start + block] @ columns[:, start:]).toarray()
        first, second = np.nonzero(np.triu(together >= min_images, 1))
        sets, support = often[np.column_stack([first, second]) + start], together[first, second].astype(np.int64)
        if fdr < SURELY:
            more = support * firing.images > firing.count[sets].prod(axis=1)
            sets, support = sets[more], support[more]
        found.append(_measured(firing, sets, support).below(fdr))
    tested = len(often) * (len(often) - 1) // 2
    return tested, _discovered(_in_one(found), fdr, tested)


def _grown(sets: Sets, firing: _Firing) -> Sets:
    """Join sets of one more feature, all of whose sub-sets of one feature fewer are in `sets`."""
    linked = _linked(sets, firing.features)
    chunk = max(firing.memory // max(firing.features * sets.shape[1], 1), 1)
    joined = [_joined(sets[start : start + chunk], linked) for start in range(0, len(sets), chunk)]
    return np.concatenate([_without_new_subset(block, sets) for block in joined])


def _linked(sets: Sets, features: int) -> sparse.csr_array:
    """Mark each feature and the later ones that are in a set with it: sparse 0/1 (features, features)."""
    first, second = np.concatenate([np.column_stack(pair) for pair in combinations(sets.T, 2)]).T
    linked = sparse.csr_array((np.ones(len(first)), (first, second)), shape=(features, features)) > 0
    return sparse.csr_array(linked, dtype=np.int32)


def _joined(sets: np.ndarray, linked: sparse.csr_array) -> np.ndarray:
    """Extend each set by every later feature that is linked to all its features."""
    links = sparse.csr_array(sets_of(sets, linked.shape[0]), dtype=np.int32) @ linked
    links.sort_indices()
    row = np.repeat(np.arange(len(sets)), np.diff(links.indptr))
    to_all = links.data == sets.shape[1]
    return np.column_stack([sets[row[to_all]], links.indices[to_all].astype(np.int64)])


def _without_new_subset(candidates: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """Keep the candidates all of whose sub-sets of one feature fewer are known."""
    known, kept = _as_bytes(sets), np.ones(len(candidates), dtype=bool)
    for place in range(candidates.shape[1]):
        kept &= np.isin(_as_bytes(np.delete(candidates, place, axis=1)), known)
    return candidates[kept]


def _as_bytes(sets: np.ndarray) -> np.ndarray:
    """Encode each set as one byte string, so that whole rows can be looked up."""
    return np.ascontiguousarray(sets, dtype=">u4").view(f"S{4 * sets.shape[1]}").reshape(-1)


def _significant(firing: _Firing, candidates: Sets, min_images: int, fdr: float) -> _Level:
    """Select the candidates with enough support that pass the test against their best split."""
    support = firing.support(candidates)
    frequent = support >= min_images
    return _discovered(_measured(firing, candidates[frequent], support[frequent]), fdr, len(candidates))


def _measured(firing: _Firing, sets: Sets, support: Int[np.ndarray, " sets"]) -> _Level:
    """Compare the support of each set with that of its best split."""
    expected = _best_split(firing, sets)
    return _Level(sets, support, expected, probability_of_at_least(support, firing.images, expected))


def _discovered(level: _Level, fdr: float, tests: int) -> _Level:
    """Select the sets that pass the test, among so many."""
    return level.take(np.flatnonzero(discoveries(level.p_value, fdr, tests)))


def _best_split(firing: _Firing, sets: Sets) -> Float[np.ndarray, " sets"]:
    """Compute the largest share of images that two independent parts of a set predict: ``max P(A) P(S - A)``."""
    places = set(range(sets.shape[1]))
    best = np.zeros(len(sets))
    for size in range(1, len(places) // 2 + 1):
        for first in combinations(places, size):
            expected = firing.support(sets[:, first]) * firing.support(sets[:, sorted(places - set(first))])
            best = np.maximum(best, expected / max(firing.images, 1) ** 2)
    return best


def _strongest(level: _Level, firing: _Firing, most: int, max_jaccard: float) -> Int[np.ndarray, " kept"]:
    """Find the rows of the `most` strongest sets, in the order of the level.

    Near-duplicates of a member come after all others.
    """
    duplicate = level.support >= max_jaccard * _rarest(firing, level.sets)
    order = np.lexsort((-log_likelihood_ratio(level.support, firing.images, level.expected), duplicate))
    return np.sort(order[:most])


def _rarest(firing: _Firing, sets: Sets) -> Int[np.ndarray, " sets"]:
    """Count the images of the member that fires least."""
    return firing.count[sets].min(axis=1)


def _closed(firing: _Firing, level: _Level) -> Bool[np.ndarray, " sets"]:
    """Decide whether no further feature fires on all images of a set."""
    closed = np.ones(len(level.sets), dtype=bool)
    chunk = max(firing.memory // max(firing.images, SAMPLE * firing.rows.shape[1], 1), 1)
    for start in range(0, len(closed), chunk):
        rows = slice(start, start + chunk)
        closed[rows] = _closed_in_block(firing, level.sets[rows], level.support[rows])
    return closed


def _closed_in_block(firing: _Firing, sets: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Decide for one block of sets whether each is closed.

    Features that fire on a sample of a set's images are counted on all its images. They are counted one after the
    other.
    """
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
    """Find further features that fire on all of up to `SAMPLE` images, spread over the images of each set."""
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
    """Join all levels in one table."""
    size = np.repeat(np.array(list(search), dtype=np.int64), [len(level.sets) for level in levels])
    level = _in_one(levels)
    prevalence = firing.count / max(firing.images, 1)
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
    """Concatenate the levels.

    A smaller set repeats its last feature, which does not change the set.
    """
    nothing = _Level(np.zeros((0, 1), np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    filled = [level for level in levels if len(level.sets)] or [nothing]
    width = filled[-1].sets.shape[1]
    sets = [np.pad(level.sets, ((0, 0), (0, width - level.sets.shape[1])), mode="edge") for level in filled]
    columns = ([getattr(level, name) for level in filled] for name in ("support", "expected", "p_value"))
    return _Level(np.concatenate(sets), *(np.concatenate(column) for column in columns))


def diverse(
    itemsets: CofiringSets, fires: Fires, most: int, max_jaccard: float
) -> tuple[Int[np.ndarray, " chosen"], Bool[np.ndarray, " sets"]]:
    """Choose the strongest sets of each size in turn, without near-duplicates.

    A near-duplicate has nearly the images of a member or of another chosen set.

    Parameters
    ----------
    most : number of sets to choose.
    max_jaccard : two sets are near-duplicates from this Jaccard index of their images on.

    Returns
    -------
    chosen, left
        As `strongest_in_turn`.
    """

    def alike(row: int) -> np.ndarray:
        images = fires[:, itemsets.sets[row]].all(axis=1)
        shared = _support(_packed_columns(fires[images]), itemsets.sets, WORKING_MEMORY)
        return shared >= max_jaccard * (itemsets.support + itemsets.support[row] - shared)

    rarest = fires.sum(axis=0)[itemsets.sets].min(axis=1)
    return strongest_in_turn(itemsets.size, itemsets.strength, itemsets.support < max_jaccard * rarest, alike, most)


def as_groups(sets: Sets, fires: Fires) -> Groups:
    """Return the sets of features with the images on which all features of a set fire.

    The images are kept as a dense matrix, so use this only for the few sets that are explained.
    """
    images = np.ones((len(sets), len(fires)), dtype=bool)
    for features in sets.T:
        images &= fires[:, features].T
    return Groups(sets_of(sets, fires.shape[1]), images)
