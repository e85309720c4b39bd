"""Closed co-firing sets against brute force over all subsets, planted and degenerate firing, diversity, scale."""

import time
import tracemalloc
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from falcon_dvc.groups.cofiring import CofiringSets, Search, as_groups, cofiring_sets, diverse
from falcon_dvc.groups.groups import Groups

SEEDS = st.integers(0, 2**32 - 1)
ALL = {"fdr": 1.0, "most": 10**6}


def random_fires(seed: int, images: int = 25, features: int = 6) -> np.ndarray:
    """Random firing with a feature that never fires, one that always does, and a planted trio."""
    rng = np.random.default_rng(seed)
    fires = rng.random((images, features)) < rng.uniform(0.1, 0.8)
    fires[:, 0] = False
    fires[:, 1] = True
    fires[:8, 2:5] |= rng.random() < 0.5
    return fires


def dependent_fires(seed: int, images: int = 120, features: int = 7) -> np.ndarray:
    """Features that follow two hidden causes, so that many sets are significant and some are closed only with a third."""
    rng = np.random.default_rng(seed)
    causes = rng.random((images, 2)) < 0.3
    fires = rng.random((images, features)) < rng.uniform(0.02, 0.3)
    fires |= causes[:, rng.integers(0, 2, features)] & (rng.random((images, features)) < rng.uniform(0.5, 1))
    fires[:, -1] = fires[:, -2] | (rng.random(images) < 0.2)
    return fires


def members_of(found: CofiringSets) -> list[tuple[int, ...]]:
    return [tuple(row[:size].tolist()) for row, size in zip(found.sets, found.size, strict=True)]


def as_dict(groups: Groups) -> dict[tuple, tuple]:
    rows = zip(groups.members, groups.images, strict=True)
    return {tuple(np.flatnonzero(members)): tuple(np.flatnonzero(images)) for members, images in rows}


def images_of(fires: np.ndarray, members: tuple) -> tuple:
    return tuple(np.flatnonzero(fires[:, list(members)].all(axis=1)).tolist())


def is_closed(fires: np.ndarray, members: tuple) -> bool:
    rows = fires[list(images_of(fires, members))]
    return set(np.flatnonzero(rows.all(axis=0)).tolist()) == set(members)


def closed_sets(fires: np.ndarray, min_images: int, max_size: int) -> dict[tuple, tuple]:
    """Every subset in turn: frequent, and no superset has the same images."""
    features = range(fires.shape[1])
    subsets = {members: images_of(fires, members) for size in features for members in combinations(features, size + 1)}
    return {
        members: images
        for members, images in subsets.items()
        if 2 <= len(members) <= max_size
        and len(images) >= min_images
        and not any(set(members) < set(other) and images == same for other, same in subsets.items())
    }


def split_share(fires: np.ndarray, members: tuple) -> float:
    """Largest product of the shares of two parts, over every way to part the set."""
    share = {
        part: len(images_of(fires, part)) / len(fires)
        for n in range(1, len(members))
        for part in combinations(members, n)
    }
    return max(share[part] * share[tuple(m for m in members if m not in part)] for part in share)


def significant_sets(fires: np.ndarray, min_images: int, max_size: int, fdr: float) -> dict[tuple, float]:
    """Level by level over all subsets, Benjamini-Hochberg by its definition; with their p-values."""
    found: dict[tuple, float] = {}
    enough = [j for j in range(fires.shape[1]) if fires[:, j].sum() >= min_images]
    tested = list(combinations(enough, 2))
    for size in range(2, max_size + 1):
        p_values = {}
        for members in tested:
            support = len(images_of(fires, members))
            rare = support < min_images
            p_values[members] = 1.0 if rare else float(binom.sf(support - 1, len(fires), split_share(fires, members)))
        ranked = sorted(p_values.values())
        cut = max([p for rank, p in enumerate(ranked, start=1) if p * len(ranked) / rank <= fdr], default=-1.0)
        level = {members: p for members, p in p_values.items() if p <= cut}
        found |= level
        larger = combinations(range(fires.shape[1]), size + 1)
        tested = [members for members in larger if all(part in level for part in combinations(members, size))]
    return found


@given(SEEDS, st.integers(2, 6), st.integers(2, 6))
def test_without_a_false_discovery_rate_they_are_all_closed_frequent_sets(seed, min_images, max_size):
    fires = random_fires(seed)
    found = cofiring_sets(fires, min_images, max_size, **ALL)
    assert as_dict(as_groups(found.sets, fires)) == closed_sets(fires, min_images, max_size)


@given(SEEDS, st.integers(2, 8), st.integers(2, 5), st.sampled_from([0.01, 0.05, 0.3]))
def test_they_are_the_closed_ones_of_the_significant_sets(seed, min_images, max_size, fdr):
    fires = dependent_fires(seed)
    found = cofiring_sets(fires, min_images, max_size, fdr, most=10**6)
    expected = {m: p for m, p in significant_sets(fires, min_images, max_size, fdr).items() if is_closed(fires, m)}
    assert sorted(members_of(found)) == sorted(expected)
    for row, members in enumerate(members_of(found)):
        support, share = len(images_of(fires, members)), split_share(fires, members)
        prevalence = float(np.prod([fires[:, j].mean() for j in members]))
        assert found.support[row] == support
        assert found.p_value[row] == pytest.approx(expected[members], rel=1e-9)
        assert found.lift[row] == pytest.approx(support / (prevalence * len(fires)))
        assert found.lift_beyond[row] == pytest.approx(support / (share * len(fires)))


def test_the_examples_hold_sets_that_are_not_closed_and_sets_of_four():
    found = [cofiring_sets(dependent_fires(seed), 4, 4, 0.05, 10**6) for seed in range(20)]
    assert sum(some.search[2].not_closed for some in found) > 0
    assert sum((some.size == 4).sum() for some in found) > 0


@given(SEEDS)
def test_every_tested_set_is_accounted_for(seed):
    fires = dependent_fires(seed)
    found = cofiring_sets(fires, 4, 4, 0.05, most=3)
    for size, search in found.search.items():
        listed = int((found.size == size).sum())
        assert search.significant <= search.tested
        assert search.significant == listed + search.not_closed + search.cut_off
        assert listed + search.not_closed <= 3
    assert found.search[2].tested == comb(int((fires.sum(axis=0) >= 4).sum()), 2)


@given(SEEDS, st.integers(1, 6))
def test_the_bound_keeps_the_strongest_and_near_duplicates_of_a_member_last(seed, most):
    fires = dependent_fires(seed)
    whole = cofiring_sets(fires, 4, 2, 0.3, 10**6)
    kept = cofiring_sets(fires, 4, 2, 0.3, most, max_jaccard=0.6)
    alike = whole.support >= 0.6 * fires.sum(axis=0)[whole.sets].min(axis=1)
    best = np.lexsort((-whole.strength, alike))[:most]
    assert set(members_of(kept)) <= {members_of(whole)[row] for row in best}
    assert len(kept) + kept.search[2].not_closed == min(most, kept.search[2].significant)


@given(SEEDS, st.sampled_from([1, 100, 10**4, 10**9]))
def test_the_memory_changes_nothing(seed, memory):
    fires = dependent_fires(seed, images=150)
    whole, parts = cofiring_sets(fires, 4, 4, 0.2, 50), cofiring_sets(fires, 4, 4, 0.2, 50, memory=memory)
    assert whole.search == parts.search
    for name in ("sets", "size", "support", "lift", "lift_beyond", "p_value", "strength"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


@given(SEEDS)
def test_sets_do_not_depend_on_the_order_of_images_or_features(seed):
    fires, rng = dependent_fires(seed), np.random.default_rng(seed)
    rows, columns = rng.permutation(120), rng.permutation(7)
    moved = members_of(cofiring_sets(fires[rows][:, columns], 4, 4, 0.2, 10**6))
    found = members_of(cofiring_sets(fires, 4, 4, 0.2, 10**6))
    assert sorted(tuple(sorted(columns[list(members)].tolist())) for members in moved) == sorted(found)


@given(SEEDS)
def test_sets_come_by_size_then_by_members(seed):
    names = members_of(cofiring_sets(random_fires(seed), 2, 5, **ALL))
    assert names == sorted(names, key=lambda members: (len(members), members))


@pytest.mark.parametrize("shape", [(0, 3), (5, 0), (5, 3)])
def test_nothing_that_fires_gives_no_set(shape):
    fires = np.zeros(shape, dtype=bool)
    found = cofiring_sets(fires, 2, 3, 0.05, 10)
    assert len(found) == 0 and found.search == {2: Search(0, 0, 0, 0)}
    assert len(diverse(found, fires, 5, 0.5)[0]) == 0
    assert as_groups(found.sets, fires).members.shape == (0, shape[1])


@pytest.mark.parametrize("max_size", [1, 2, 6])
def test_features_that_all_fire_alike_are_closed_only_in_one_set(max_size):
    fires = np.zeros((200, 6), dtype=bool)
    fires[:30] = True
    assert members_of(cofiring_sets(fires, 5, max_size, 0.05, 100)) == ([(0, 1, 2, 3, 4, 5)] if max_size == 6 else [])


def test_a_feature_that_misses_a_single_image_leaves_a_set_closed():
    """More images than are sampled to rule features out."""
    for missing in range(0, 300, 7):
        fires = np.zeros((900, 3), dtype=bool)
        fires[:300] = True
        fires[missing, 2] = False
        assert (0, 1) in members_of(cofiring_sets(fires, 5, 3, 0.05, 100))


def test_a_set_is_tested_only_if_all_its_sub_sets_are_significant():
    """Every pair of the four fires together, but three of them never do so beyond their pairs."""
    fires = np.zeros((1000, 4), dtype=bool)
    for start, pair in ((0, [1, 2]), (60, [1, 3]), (120, [2, 3])):
        fires[start : start + 60, [0, *pair]] = True
    fires[180:185] = True
    found = cofiring_sets(fires, 5, 4, 0.05, 100)
    assert members_of(found) == [(0, 1), (0, 2), (0, 3), (0, 1, 2), (0, 1, 3), (0, 2, 3)]
    assert found.search[3].tested == 4 and found.search[4].tested == 0


def test_one_image_and_one_feature():
    for shape in [(1, 1), (1, 3), (70, 1)]:
        assert len(cofiring_sets(np.ones(shape, dtype=bool), 1, 3, 0.05, 10)) == 0


def independent(seed: int, images: int = 2000, features: int = 40, share: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).random((images, features)) < share


def test_a_planted_pair_is_discovered_and_independent_features_hardly_ever():
    false = []
    for seed in range(10):
        fires = independent(seed)
        fires[:60, [4, 17]] = True
        found = members_of(cofiring_sets(fires, 3, 3, 0.05, 1000))
        assert (4, 17) in found
        false.append(len(found) - 1)
    assert np.mean(false) <= 0.3


def test_a_triple_must_beat_its_best_pair():
    """A pair that fires together, with a third feature that is independent of it, is no triple, however large its lift."""
    fires = independent(0)
    fires[:200, [4, 17]] = True
    assert all(len(members) == 2 for members in members_of(cofiring_sets(fires, 3, 3, 0.05, 1000)))
    found = cofiring_sets(fires, 3, 3, **ALL)
    with_third = [row for row, members in enumerate(members_of(found)) if set(members) > {4, 17}]
    assert len(with_third) == 38
    assert np.median(found.lift[with_third]) > 3
    assert np.median(found.lift_beyond[with_third]) == pytest.approx(1, abs=0.1)


def test_two_independent_pairs_are_no_group_of_four():
    """Each feature alone raises the expected support of the other three, yet the four are only two pairs."""
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 4000, 1)) < 0.3
    fires = np.hstack([first | (rng.random((4000, 2)) < 0.02), second | (rng.random((4000, 2)) < 0.02)])
    found = cofiring_sets(fires, 3, 4, 1.0, 1000)
    rows = {members: row for row, members in enumerate(members_of(found))}
    assert found.p_value[rows[0, 1]] < 1e-50 and found.p_value[rows[2, 3]] < 1e-50
    assert found.p_value[rows[0, 1, 2, 3]] > 0.01
    assert found.lift[rows[0, 1, 2, 3]] > 5


def test_a_planted_trio_is_one_group():
    fires = independent(2)
    fires[:80, [3, 9, 21]] = True
    fires[80:160, [3, 9]] = True
    found = cofiring_sets(fires, 11, 3, 0.05, 1000)
    trio = members_of(found).index((3, 9, 21))
    assert found.lift_beyond[trio] > 2


def test_strength_ranks_as_the_p_value_where_that_does_not_underflow():
    fires = dependent_fires(3, images=400, features=12)
    found = cofiring_sets(fires, 5, 2, 0.9, 10**6)
    pairs = found.p_value > 1e-200
    rank = [np.argsort(np.argsort(values[pairs])) for values in (-found.strength, found.p_value)]
    assert pairs.sum() > 10 and np.corrcoef(*rank)[0, 1] > 0.99


def planted_clusters() -> np.ndarray:
    """Five features that fire on nearly the same images, and two pairs that share a third of theirs."""
    rng = np.random.default_rng(0)
    fires = rng.random((3000, 12)) < 0.02
    fires[:300, :5] |= rng.random((300, 5)) < 0.97
    fires[1000:1300, 5] = fires[1200:1500, 6] = True
    fires[2000:2300, 7] = fires[2180:2480, 8] = True
    return fires


def jaccard(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


@given(SEEDS, st.sampled_from([0.3, 0.5, 0.8]), st.integers(0, 8))
def test_what_is_chosen_is_diverse_and_nothing_that_could_be_added_is_left_out(seed, most_alike, most):
    fires = dependent_fires(seed, features=9)
    found = cofiring_sets(fires, 4, 3, 0.2, 10**6)
    chosen, left = diverse(found, fires, most, most_alike)
    images = as_groups(found.sets, fires).images
    alike = np.array([[jaccard(a, b) >= most_alike for b in images] for a in images]).reshape(len(images), -1)
    own = np.array(
        [
            any(jaccard(row, fires[:, j]) >= most_alike for j in set(s))
            for row, s in zip(images, found.sets, strict=True)
        ],
        dtype=bool,
    )
    assert alike[np.ix_(chosen, chosen)].sum() == len(chosen)
    assert not own[chosen].any()
    assert len(chosen) <= most and sorted(chosen) == chosen.tolist()
    assert left.tolist() == (~own & ~alike[:, chosen].any(axis=1)).tolist()
    assert len(chosen) == most or not left.any()


def test_near_duplicates_are_passed_over():
    fires = planted_clusters()
    found = cofiring_sets(fires, 11, 3, 0.05, 1000)
    assert sum(max(members) < 5 for members in members_of(found)) > 10
    chosen, _ = diverse(found, fires, 60, 0.5)
    assert {members_of(found)[row] for row in chosen} == {(5, 6), (7, 8)}
    everything, left = diverse(found, fires, 1000, 1.0)
    assert len(everything) == len(found) and not left.any()


@pytest.mark.parametrize("density", [0.01, 0.1])
def test_thousands_of_images_and_hundreds_of_features_take_seconds_and_little_memory(density):
    """At 0.1 every pair of features is frequent; the bounds on time leave room for a busy machine."""
    rng = np.random.default_rng(0)
    fires = rng.random((10_000, 500)) < density
    causes = rng.random((10_000, 25)) < density
    fires |= causes[:, np.arange(500) // 20] & (rng.random((10_000, 500)) < 0.5)
    started = time.process_time()
    tracemalloc.start()
    found = cofiring_sets(fires, 11, 3, 0.05, 1000)
    chosen, _ = diverse(found, fires, 60, 0.5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.process_time() - started < 20
    assert peak < 120e6, "sets x images as booleans alone would take 10 GB"
    assert found.search[2].significant > 4000 and len(chosen) == 60


@given(SEEDS, st.integers(1, 3), st.integers(0, 5))
def test_a_groups_images_are_those_on_which_all_its_features_fire(seed, size, count):
    fires, rng = random_fires(seed), np.random.default_rng(seed)
    sets = np.sort(rng.permuted(np.tile(np.arange(6), (count, 1)), axis=1)[:, :size], axis=1)
    expected = {tuple(row): images_of(fires, tuple(row)) for row in sets.tolist()}
    found = as_groups(sets, fires)
    assert len(found) == count and as_dict(found) == expected
    filled_up = as_groups(np.column_stack([sets, sets[:, -1:]]), fires)
    assert np.array_equal(filled_up.members, found.members) and np.array_equal(filled_up.images, found.images)
