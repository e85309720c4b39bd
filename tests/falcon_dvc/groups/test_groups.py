"""Step 3: single features, exact groups, the significance of firing together, and which groups are chosen."""

from math import comb, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.groups.groups import (
    Groups,
    against_independence,
    among,
    discoveries,
    exact_groups,
    group_name,
    log_likelihood_ratio,
    probability_of_at_least,
    sets_of,
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


@given(SEEDS, st.lists(st.integers(0, 5), unique=True).map(sorted))
def test_groups_of_chosen_features_are_those_of_all_without_the_others(seed, chosen):
    fires, chosen = random_fires(seed), np.array(chosen, dtype=int)
    for find in (single_features, exact_groups):
        everything = as_dict(find(fires, 2))
        expected = {members: images for members, images in everything.items() if set(members) <= set(chosen.tolist())}
        assert as_dict(among(find(fires, 2), chosen)) == expected
    assert as_dict(single_features(fires, 2, chosen)) == as_dict(among(single_features(fires, 2), chosen))


@pytest.mark.parametrize("shape", [(0, 3), (5, 0), (5, 3)])
def test_nothing_that_fires_gives_no_group(shape):
    for find in (single_features, exact_groups):
        groups = find(np.zeros(shape, dtype=bool), 2)
        assert len(groups) == 0
        assert groups.members.shape[1] == shape[1]


@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), max_size=5))
def test_a_feature_that_is_named_twice_is_one_member(members):
    sets = sets_of(np.array(members, dtype=int).reshape(-1, 3), 10)
    assert sets.shape == (len(members), 10) and sets.dtype == bool
    assert [np.flatnonzero(row).tolist() for row in sets.toarray()] == [sorted(set(own)) for own in members]
    assert np.diff(sets.indptr).tolist() == [len(set(own)) for own in members]


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


@given(st.integers(1, 12), st.floats(0.01, 0.99))
def test_the_binomial_tail_falls_from_one_and_is_the_sum_of_its_terms(images, expected):
    support = np.arange(images + 1)
    tail = probability_of_at_least(support, images, np.full(images + 1, expected))
    terms = [comb(images, n) * expected**n * (1 - expected) ** (images - n) for n in support.tolist()]
    assert np.allclose(tail, [sum(terms[n:]) for n in support])
    assert tail[0] == 1 and (np.diff(tail) <= 0).all() and tail[-1] == pytest.approx(expected**images)


@given(st.integers(1, 40), st.data(), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), st.integers(2, 5))
@pytest.mark.filterwarnings("error")
def test_the_likelihood_ratio_weighs_the_observed_share_against_the_expected_one(images, data, expected, times):
    support = data.draw(st.integers(0, images))
    found = float(log_likelihood_ratio(np.array([support]), images, np.array([expected]))[0])
    assert np.sign(found) == np.sign(support - expected * images) or found == 0
    assert (found == 0) == (support / images == expected)
    if 0 < expected < 1:
        parts = [(support, expected), (images - support, 1 - expected)]
        assert abs(found) == pytest.approx(sum(n * log(n / images / p) for n, p in parts if n), abs=1e-9)
    more = float(log_likelihood_ratio(np.array([times * support]), times * images, np.array([expected]))[0])
    assert more == pytest.approx(times * found, abs=1e-9)


def chosen_in_turn(size, strength, eligible, alike, most):
    """By dictionaries: the size of which the fewest are chosen, of that size the strongest."""
    left, chosen = {row for row in range(len(size)) if eligible[row]}, []
    while left and len(chosen) < most:
        count = {size[row]: sum(size[other] == size[row] for other in chosen) for row in left}
        turn = min(count, key=lambda one: (count[one], one))
        row = min((row for row in left if size[row] == turn), key=lambda row: (-strength[row], row))
        chosen.append(row)
        left -= set(np.flatnonzero(alike[row]))
    return sorted(chosen), left


SETS = st.lists(st.tuples(st.integers(2, 4), st.sampled_from([0.0, 1.0, 2.0, np.inf]), st.booleans()), max_size=9)


@given(SETS, SEEDS, st.integers(0, 9))
def test_the_strongest_in_turn_are_those_of_the_dictionaries(sets, seed, most):
    size, strength, eligible = (np.array([row[column] for row in sets]) for column in range(3))
    alike = np.random.default_rng(seed).random((len(sets), len(sets))) < 0.2
    alike |= alike.T | np.eye(len(sets), dtype=bool)
    arguments = size.astype(int), strength, eligible.astype(bool)
    chosen, left = strongest_in_turn(*arguments, lambda row: alike[row], most)
    expected = chosen_in_turn(*arguments, alike, most)
    assert (chosen.tolist(), set(np.flatnonzero(left))) == expected
    assert alike[np.ix_(chosen, chosen)].sum() == len(chosen) and eligible.astype(bool)[chosen].all()


@given(
    st.sets(st.integers(0, 30), min_size=1, max_size=6),
    st.sets(st.integers(0, 30), min_size=1, max_size=6),
    st.randoms(),
)
def test_a_name_stands_for_the_members_alone(first, second, random):
    mixed = list(first)
    random.shuffle(mixed)
    assert group_name(mixed) == group_name(np.sort(mixed).tolist()) == group_name(list(np.array(mixed, dtype=np.int32)))
    assert (group_name(mixed) == group_name(list(second))) == (first == second)
    assert group_name(mixed) == f"f{mixed[0]}" if len(first) == 1 else len(group_name(mixed)) == 9


@given(SEEDS, st.integers(1, 4), st.integers(0, 6))
def test_collections_that_are_joined_come_apart_again(seed, min_images, cut):
    fires = random_fires(seed)
    whole = exact_groups(fires, min_images)
    parts = whole.take(slice(cut)), whole.take(np.arange(len(whole))[cut:])
    assert len(parts[0]) == min(cut, len(whole)) and sum(map(len, parts)) == len(whole)
    joined = together(*parts)
    assert np.array_equal(joined.members, whole.members) and np.array_equal(joined.images, whole.images)
    backwards = np.arange(len(whole))[::-1]
    assert as_dict(whole.take(backwards)) == as_dict(whole)
    assert min_images > 1 or (whole.images.sum(axis=0) == fires.any(axis=1)).all(), "each image in one exact group"


@given(SEEDS, st.integers(2, 4))
def test_more_of_the_same_images_leave_the_lift_and_multiply_the_strength(seed, times):
    fires = random_fires(seed)
    few, many = exact_groups(fires, 1), exact_groups(np.tile(fires, (times, 1)), 1)
    lift, p_value, strength = against_independence(few, fires)
    again, smaller, stronger = against_independence(many, np.tile(fires, (times, 1)))
    assert np.array_equal(few.members, many.members) and np.allclose(lift, again)
    assert np.allclose(times * strength, stronger)
    assert ((p_value >= 0) & (p_value <= 1)).all() and (smaller[lift > 1.5] < p_value[lift > 1.5]).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0.01, 0.4), st.randoms())
def test_a_higher_rate_and_a_sure_test_beside_them_discover_no_less(p_values, rate, random):
    found = discoveries(np.array(p_values), rate)
    assert not (found & ~discoveries(np.array(p_values), rate + 0.1)).any()
    assert not (found & ~discoveries(np.array([*p_values, 0.0]), rate)[:-1]).any()
    order = list(range(len(p_values)))
    random.shuffle(order)
    assert np.array_equal(discoveries(np.array(p_values)[order], rate), found[order])
