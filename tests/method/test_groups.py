"""Step 3: feature groups against brute force over all subsets, and the significance of firing together."""

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.method.groups import (
    Groups,
    cofiring_groups,
    cofiring_significance,
    discoveries,
    exact_groups,
    group_name,
    single_features,
    together,
)

SEEDS = st.integers(0, 2**32 - 1)


def random_fires(seed: int, images: int = 25, features: int = 6) -> np.ndarray:
    """Random firing with a feature that never fires, one that always does, and a planted trio."""
    rng = np.random.default_rng(seed)
    fires = rng.random((images, features)) < rng.uniform(0.1, 0.8)
    fires[:, 0] = False
    fires[:, 1] = True
    fires[:8, 2:5] |= rng.random() < 0.5
    return fires


def as_dict(groups: Groups) -> dict[tuple, tuple]:
    rows = zip(groups.members, groups.images, strict=True)
    return {tuple(np.flatnonzero(members)): tuple(np.flatnonzero(images)) for members, images in rows}


def images_of(fires: np.ndarray, members: tuple) -> tuple:
    return tuple(image for image in range(len(fires)) if all(fires[image, j] for j in members))


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


@given(SEEDS, st.integers(2, 6), st.integers(2, 6))
def test_cofiring_groups_are_the_closed_frequent_sets(seed, min_images, max_size):
    fires = random_fires(seed)
    assert as_dict(cofiring_groups(fires, min_images, max_size)) == closed_sets(fires, min_images, max_size)


@given(SEEDS, st.sampled_from([1, 2, 3, 1000]))
def test_cofiring_groups_do_not_depend_on_the_chunk(seed, chunk):
    fires = random_fires(seed, features=8)
    whole, parts = cofiring_groups(fires, 2, 5), cofiring_groups(fires, 2, 5, chunk)
    assert np.array_equal(whole.members, parts.members)
    assert np.array_equal(whole.images, parts.images)


@given(SEEDS)
def test_groups_do_not_depend_on_the_order_of_images_or_features(seed):
    fires, rng = random_fires(seed), np.random.default_rng(seed)
    rows, columns = rng.permutation(25), rng.permutation(6)
    for find in (lambda f: exact_groups(f, 2), lambda f: cofiring_groups(f, 2, 4), lambda f: single_features(f, 2)):
        moved = find(fires[rows][:, columns])
        back = {tuple(sorted(columns[list(m)])): tuple(sorted(rows[list(i)])) for m, i in as_dict(moved).items()}
        assert back == as_dict(find(fires))


@given(SEEDS)
def test_groups_come_by_size_then_by_members(seed):
    fires = random_fires(seed)
    for groups in (exact_groups(fires, 1), cofiring_groups(fires, 2, 5)):
        names = list(as_dict(groups))
        assert names == sorted(names, key=lambda members: (len(members), members))


@given(SEEDS, st.integers(1, 5))
def test_exact_groups_have_identical_sets(seed, min_images):
    fires = random_fires(seed)
    fires[:, 1] = fires[:, 2]
    sets: dict[tuple, list] = {}
    for image in range(len(fires)):
        sets.setdefault(tuple(np.flatnonzero(fires[image])), []).append(image)
    expected = {members: tuple(images) for members, images in sets.items() if members and len(images) >= min_images}
    assert as_dict(exact_groups(fires, min_images)) == expected


@given(SEEDS)
def test_single_features_count_wherever_they_fire(seed):
    fires = random_fires(seed)
    assert as_dict(single_features(fires, 5)) == {
        (j,): tuple(np.flatnonzero(fires[:, j])) for j in range(6) if fires[:, j].sum() >= 5
    }


@pytest.mark.parametrize("shape", [(0, 3), (5, 0), (5, 3)])
def test_nothing_that_fires_gives_no_group(shape):
    fires = np.zeros(shape, dtype=bool)
    for groups in (single_features(fires, 2), exact_groups(fires, 2), cofiring_groups(fires, 2, 3)):
        assert len(groups) == 0
        assert groups.members.shape[1] == shape[1]


def test_both_collections_in_one():
    fires = random_fires(1)
    single, larger = single_features(fires, 3), cofiring_groups(fires, 3, 3)
    assert as_dict(together(single, larger)) == as_dict(single) | as_dict(larger)


@given(SEEDS)
def test_significance_is_the_binomial_tail(seed):
    fires = random_fires(seed)
    groups = cofiring_groups(fires, 2, 4)
    lift, p_value = cofiring_significance(groups, fires)
    for row, (members, images) in enumerate(as_dict(groups).items()):
        chance = float(np.prod([fires[:, j].mean() for j in members]))
        tail = sum(comb(25, n) * chance**n * (1 - chance) ** (25 - n) for n in range(len(images), 26))
        assert lift[row] == pytest.approx(len(images) / (25 * chance))
        assert p_value[row] == pytest.approx(tail, abs=1e-12)


def test_a_planted_pair_is_discovered_and_independent_features_hardly_ever():
    rng = np.random.default_rng(0)
    fires = rng.random((1000, 30)) < 0.1
    planted = rng.choice(1000, 30, replace=False)
    fires[np.ix_(planted, [4, 17])] = True
    groups = cofiring_groups(fires, 3, 2)
    lift, p_value = cofiring_significance(groups, fires)
    found = [members for members, kept in zip(as_dict(groups), discoveries(p_value, 0.05), strict=True) if kept]
    assert (4, 17) in found
    assert len(found) <= 1 + 0.05 * len(groups)
    assert lift[list(as_dict(groups)).index((4, 17))] > 2


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.01, 0.5))
def test_discoveries_are_benjamini_hochberg(p_values, rate):
    ranked = sorted(p_values)
    passed = [p for rank, p in enumerate(ranked, start=1) if p * len(ranked) / rank <= rate]
    cut = max(passed, default=-1)
    assert discoveries(np.array(p_values), rate).tolist() == [p <= cut for p in p_values]


def test_names_are_stable_short_and_blind_to_order():
    assert group_name([12]) == "f12"
    assert group_name([7, 3]) == group_name([3, 7]) == group_name([np.int64(3), np.int64(7)])
    assert len(group_name(list(range(500)))) == 9
    assert len({group_name([1, 23]), group_name([12, 3]), group_name([1, 2, 3])}) == 3
    assert group_name([3, 7]) == "g202a2574"
