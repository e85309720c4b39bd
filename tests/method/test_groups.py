"""Step 3: single features, exact groups, the significance of firing together, and which groups are chosen."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.method.groups import (
    Groups,
    against_independence,
    discoveries,
    exact_groups,
    group_name,
    single_features,
    strongest_in_turn,
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


@given(SEEDS)
def test_groups_do_not_depend_on_the_order_of_images_or_features(seed):
    fires, rng = random_fires(seed), np.random.default_rng(seed)
    rows, columns = rng.permutation(25), rng.permutation(6)
    for find in (exact_groups, single_features):
        moved = find(fires[rows][:, columns], 2)
        back = {tuple(sorted(columns[list(m)])): tuple(sorted(rows[list(i)])) for m, i in as_dict(moved).items()}
        assert back == as_dict(find(fires, 2))


@given(SEEDS)
def test_exact_groups_come_by_size_then_by_members(seed):
    names = list(as_dict(exact_groups(random_fires(seed), 1)))
    assert names == sorted(names, key=lambda members: (len(members), members))


@given(SEEDS, st.integers(1, 5))
def test_exact_groups_have_identical_sets(seed, min_images):
    fires = random_fires(seed, features=11)
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
    for find in (single_features, exact_groups):
        groups = find(np.zeros(shape, dtype=bool), 2)
        assert len(groups) == 0
        assert groups.members.shape[1] == shape[1]


def test_both_collections_in_one():
    fires = random_fires(1)
    single, exact = single_features(fires, 3), exact_groups(fires, 1)
    larger = exact.take(np.flatnonzero(exact.members.sum(axis=1) > 1))
    assert as_dict(together(single, larger)) == as_dict(single) | as_dict(larger)


@given(SEEDS)
def test_independence_is_the_binomial_tail(seed):
    fires = random_fires(seed)
    groups = exact_groups(fires, 1)
    lift, p_value, _ = against_independence(groups, fires)
    for row, (members, images) in enumerate(as_dict(groups).items()):
        chance = float(np.prod([fires[:, j].mean() for j in members]))
        tail = sum(comb(25, n) * chance**n * (1 - chance) ** (25 - n) for n in range(len(images), 26))
        assert lift[row] == pytest.approx(len(images) / (25 * chance))
        assert p_value[row] == pytest.approx(tail, abs=1e-12)


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.01, 0.5), st.integers(0, 20))
def test_discoveries_are_benjamini_hochberg(p_values, rate, others):
    ranked = sorted(p_values + [1.0] * others)
    passed = [p for rank, p in enumerate(ranked, start=1) if p * len(ranked) / rank <= rate]
    cut = max(passed, default=-1)
    assert discoveries(np.array(p_values), rate, len(ranked)).tolist() == [p <= cut for p in p_values]
    assert others or np.array_equal(
        discoveries(np.array(p_values), rate), discoveries(np.array(p_values), rate, len(p_values))
    )


def test_each_size_in_turn_and_of_each_the_strongest():
    size, strength = np.array([2, 2, 2, 3, 3, 4]), np.array([5.0, 9.0, 7.0, 1.0, 2.0, 0.5])
    eligible = np.array([True, True, True, True, True, False])
    picks = [
        strongest_in_turn(size, strength, eligible, lambda row: np.arange(6) == row, most)[0].tolist()
        for most in range(6)
    ]
    assert picks == [[], [1], [1, 4], [1, 2, 4], [1, 2, 3, 4], [0, 1, 2, 3, 4]]
    chosen, left = strongest_in_turn(size, strength, eligible, lambda row: (np.arange(6) == row) | (size == 2), 9)
    assert chosen.tolist() == [1, 3, 4] and not left.any()


def test_names_are_stable_short_and_blind_to_order():
    assert group_name([12]) == "f12"
    assert group_name([7, 3]) == group_name([3, 7]) == group_name([np.int64(3), np.int64(7)])
    assert len(group_name(list(range(500)))) == 9
    assert len({group_name([1, 23]), group_name([12, 3]), group_name([1, 2, 3])}) == 3
    assert group_name([3, 7]) == "g202a2574"
