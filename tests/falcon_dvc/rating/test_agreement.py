"""Ratings of several people: agreement against the textbook, shares with intervals that know about clusters."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from falcon_dvc.rating.agreement import (
    MISSING,
    agreeing_pairs,
    by_method,
    category_counts,
    clustered_ratio,
    estimated_alpha,
    krippendorff_alpha,
    paired_with_other_units,
)

SEEDS = st.integers(0, 2**32 - 1)
# Krippendorff (2011), section C: four observers, twelve units, some not rated.
TEXTBOOK = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
        [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
    ]
) - 1  # fmt: skip


def random_ratings(seed, raters=4, units=15, categories=3, missing=0.2):
    rng = np.random.default_rng(seed)
    ratings = rng.integers(0, categories, (raters, units))
    return np.where(rng.random(ratings.shape) < missing, MISSING, ratings)


def alpha_by_definition(ratings):
    """Disagreement of pairs within units against that of pairs anywhere, pair by pair."""
    units = [[value for value in column if value != MISSING] for column in ratings.T]
    units = [values for values in units if len(values) > 1]
    pooled = [value for values in units for value in values]
    observed = sum(sum(a != b for a, b in permutations(values, 2)) / (len(values) - 1) for values in units)
    expected = sum(a != b for a, b in permutations(pooled, 2)) / (len(pooled) - 1)
    return 1 - observed / expected


def test_the_textbooks_example():
    assert krippendorff_alpha(TEXTBOOK) == pytest.approx(0.743, abs=5e-4)


@given(SEEDS)
def test_alpha_is_what_its_definition_says(seed):
    ratings = random_ratings(seed)
    assert krippendorff_alpha(ratings) == pytest.approx(alpha_by_definition(ratings))


@given(SEEDS)
def test_perfect_agreement_is_one(seed):
    truth = np.random.default_rng(seed).integers(0, 4, 20)
    assume(len(set(truth)) > 1)
    ratings = np.where(random_ratings(seed, 5, 20) == MISSING, MISSING, truth)
    assume(np.isfinite(krippendorff_alpha(ratings)))
    assert krippendorff_alpha(ratings) == pytest.approx(1)


def test_random_ratings_agree_as_chance_does():
    ratings = random_ratings(0, raters=5, units=4000)
    assert krippendorff_alpha(ratings) == pytest.approx(0, abs=0.02)


def test_raters_who_always_differ_are_below_chance():
    assert krippendorff_alpha(np.array([[0, 1, 0, 1], [1, 0, 1, 0]])) < -0.5


@given(SEEDS)
def test_alpha_does_not_depend_on_order_or_names(seed):
    rng, ratings = np.random.default_rng(seed), random_ratings(seed)
    renamed = np.where(ratings == MISSING, MISSING, np.array([2, 5, 0])[ratings])
    shuffled = renamed[rng.permutation(len(ratings))][:, rng.permutation(ratings.shape[1])]
    assert krippendorff_alpha(shuffled) == pytest.approx(krippendorff_alpha(ratings))


@given(SEEDS)
def test_a_unit_with_one_rating_changes_nothing(seed):
    ratings = random_ratings(seed)
    single = np.full((len(ratings), 1), MISSING)
    single[1] = 2
    assert krippendorff_alpha(np.hstack([ratings, single])) == pytest.approx(krippendorff_alpha(ratings))


@pytest.mark.parametrize(
    "ratings",
    [np.zeros((3, 4), int), np.full((3, 4), MISSING), np.array([[0, 1, 2]]), np.zeros((0, 3), int), np.zeros((3, 0), int)],
    ids=["one category", "no rating", "one rater", "no rater", "no unit"],
)  # fmt: skip
def test_where_agreement_means_nothing_alpha_is_nan(ratings):
    assert np.isnan(krippendorff_alpha(ratings))
    assert np.isnan(estimated_alpha(ratings, 50, 0.9, np.random.default_rng(0))).all()


@given(SEEDS)
def test_alphas_interval_narrows_with_confidence(seed):
    ratings = random_ratings(seed, units=40)
    wide, narrow = (estimated_alpha(ratings, 60, share, np.random.default_rng(0)) for share in (0.95, 0.5))
    assert wide.value == narrow.value == pytest.approx(krippendorff_alpha(ratings))
    assert wide.low < narrow.low < narrow.high < wide.high <= 1


def test_alphas_interval_covers_zero_as_often_as_it_says_when_nobody_sees_anything():
    rng = np.random.default_rng(0)
    found = [estimated_alpha(random_ratings(seed, units=60), 60, 0.9, rng) for seed in range(100)]
    assert np.mean([some.low <= 0 <= some.high for some in found]) == pytest.approx(0.9, abs=0.08)


def test_counts_leave_out_what_is_missing():
    counts = category_counts(np.array([[0, 1, MISSING], [0, 2, MISSING], [1, 2, 0]]), 3)
    assert counts.tolist() == [[2, 1, 0], [0, 1, 2], [1, 0, 0]]


def test_pairs_by_hand():
    agreeing, pairs = agreeing_pairs(np.array([[3, 0], [2, 1], [1, 0], [0, 0], [2, 2]]))
    assert agreeing.tolist() == [3, 1, 0, 0, 2] and pairs.tolist() == [3, 3, 0, 0, 6]


def test_a_ratio_by_hand():
    found = clustered_ratio(np.array([3, 0, 0]), np.array([3, 1, 0]), 500, 0.9, np.random.default_rng(0))
    assert found.value == 0.75 and found.low == 0 and found.high == 1


def test_no_answers_give_no_ratio():
    assert clustered_ratio(np.zeros(3), np.zeros(3), 10, 0.9, np.random.default_rng(0)) is None
    assert clustered_ratio(np.zeros(0), np.zeros(0), 10, 0.9, np.random.default_rng(0)) is None


def test_the_interval_covers_the_truth_although_ratings_of_a_unit_are_alike():
    """All five raters of a unit say the same: with ratings for units, the interval would be far too narrow."""
    rng, whole = np.random.default_rng(0), np.full(40, 5)
    found = [clustered_ratio(5 * (rng.random(40) < 0.3), whole, 300, 0.9, rng) for _ in range(400)]
    assert np.mean([some.low <= 0.3 <= some.high for some in found]) == pytest.approx(0.9, abs=0.05)


@given(SEEDS)
def test_letters_become_methods_by_the_key(seed):
    rng = np.random.default_rng(seed)
    positions = np.argsort(rng.random((8, 3)), axis=1)
    counts = rng.integers(0, 5, (8, 3))
    found = by_method(counts, positions)
    assert all(found[unit, method] == counts[unit, positions[unit, method]] for unit in range(8) for method in range(3))


def test_choices_of_other_units_meet_a_method_as_often_as_it_stands_there():
    position = np.array([0, 0, 0, 1])
    assert paired_with_other_units(np.array([[2, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]]), position).tolist() == [
        1.5,
        0.25,
        0,
        1,
    ]


@given(SEEDS)
def test_raters_who_see_nothing_do_no_better_than_the_null(seed):
    rng, units = np.random.default_rng(seed), 3000
    position, chosen = rng.integers(0, 3, units), rng.choice(3, units, p=[0.7, 0.2, 0.1])
    counts = np.eye(3, dtype=int)[chosen]
    null = paired_with_other_units(counts, position).mean()
    assert (chosen == position).mean() == pytest.approx(null, abs=0.04)


RATINGS = st.tuples(st.integers(0, 4), st.integers(1, 6)).flatmap(
    lambda shape: st.lists(st.lists(st.integers(-1, 2), min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0])
    .map(lambda rows: np.array(rows, dtype=int).reshape(shape))
)  # fmt: skip


@given(RATINGS)
def test_every_rating_that_is_not_missing_is_counted_once_whoever_gave_it(ratings):
    counts = category_counts(ratings, 3)
    assert counts.tolist() == [[column.tolist().count(category) for category in range(3)] for column in ratings.T]
    assert np.array_equal(counts.sum(axis=1), (ratings != MISSING).sum(axis=0))
    assert np.array_equal(category_counts(ratings[::-1], 3), counts)


@given(RATINGS)
def test_pairs_are_those_of_different_raters(ratings):
    agreeing, pairs = agreeing_pairs(category_counts(ratings, 3))
    for unit, column in enumerate(ratings.T.tolist()):
        met = list(combinations([rating for rating in column if rating != MISSING], 2))
        assert (agreeing[unit], pairs[unit]) == (sum(a == b for a, b in met), len(met))


@given(RATINGS, st.permutations(range(3)))
@pytest.mark.filterwarnings("error")
def test_alpha_of_any_ratings_is_defined_where_two_categories_can_be_compared(ratings, names):
    rated = [[value for value in column if value != MISSING] for column in ratings.T.tolist()]
    pairable = {value for values in rated if len(values) > 1 for value in values}
    found = krippendorff_alpha(ratings)
    assert np.isnan(found) == (len(pairable) < 2)
    renamed = np.where(ratings == MISSING, MISSING, np.array(names)[ratings])
    assert np.allclose(krippendorff_alpha(renamed), found, equal_nan=True)
    if len(pairable) > 1:
        assert found == pytest.approx(alpha_by_definition(ratings), abs=1e-9)


@given(RATINGS, SEEDS)
@pytest.mark.filterwarnings("error")
def test_alphas_interval_is_that_of_units_drawn_again(ratings, seed):
    found = estimated_alpha(ratings, 20, 0.9, np.random.default_rng(seed))
    if np.isnan(found.value):
        assert np.isnan(found).all()
        return
    units = ratings[:, (ratings != MISSING).sum(axis=0) > 1]
    share = np.full(units.shape[1], 1 / units.shape[1])
    drawn = np.random.default_rng(seed).multinomial(units.shape[1], share, 20)
    alphas = np.array([krippendorff_alpha(np.repeat(units, times, axis=1)) for times in drawn])
    alphas = alphas[np.isfinite(alphas)]
    expected = np.quantile(alphas, [0.05, 0.95]) if len(alphas) else [found.value, found.value]
    assert np.allclose(found[1:], expected, atol=1e-9)


PARTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)).map(lambda pair: (min(pair), max(pair))), max_size=8)


@given(PARTS, st.floats(0.1, 0.9), SEEDS)
def test_a_ratio_lies_between_those_of_its_units_and_empty_units_change_nothing(pairs, confidence, seed):
    part, whole = (np.array([pair[side] for pair in pairs], dtype=int) for side in (0, 1))
    found = clustered_ratio(part, whole, 50, confidence, np.random.default_rng(seed))
    with_empty = [np.concatenate([[0], some, [0]]) for some in (part, whole)]
    assert clustered_ratio(*with_empty, 50, confidence, np.random.default_rng(seed)) == found
    if found is None:
        assert not whole.any()
        return
    ratios = part[whole > 0] / whole[whole > 0]
    assert ratios.min() - 1e-12 <= found.low <= found.high <= ratios.max() + 1e-12
    assert found.value == part.sum() / whole.sum()
    doubled = clustered_ratio(2 * part, 2 * whole, 50, confidence, np.random.default_rng(seed))
    assert doubled == found
    of_all = clustered_ratio(whole, whole, 50, confidence, np.random.default_rng(seed))
    assert of_all == (1, 1, 1)


@given(SEEDS, st.integers(1, 4), st.integers(1, 6))
def test_choices_are_kept_whole_when_letters_become_methods_or_units_are_mixed(seed, methods, units):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, (units, methods))
    positions = rng.permuted(np.tile(np.arange(methods), (units, 1)), axis=1)
    assert np.array_equal(np.sort(by_method(counts, positions)), np.sort(counts))
    assert np.array_equal(by_method(by_method(counts, positions), np.argsort(positions, axis=1)), counts)
    elsewhere = [paired_with_other_units(counts, column) for column in positions.T]
    assert np.allclose(np.sum(elsewhere, axis=0), counts.sum(axis=1)), "each choice falls on one of the methods"
    by_hand = [np.mean([counts[unit, letter] for letter in positions[:, 0]]) for unit in range(units)]
    assert np.allclose(elsewhere[0], by_hand)
