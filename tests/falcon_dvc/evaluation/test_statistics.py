"""Planted truth: the attribute that a feature sees, and intervals of a mean."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.evaluation.statistics import (
    bootstrap_interval,
    clear_truth,
    correlations,
    interval_over_worlds,
    mean_over_worlds,
    paired_difference,
    sign_test,
)

SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS)
def test_correlations_are_pearsons(seed):
    rng = np.random.default_rng(seed)
    features, attributes = rng.normal(size=(30, 4)) * 10.0 ** rng.integers(-3, 4, 4), rng.random((30, 3)) < 0.4
    attributes[0], attributes[1] = True, False
    expected = [[np.corrcoef(features[:, j], attributes[:, a])[0, 1] for a in range(3)] for j in range(4)]
    assert np.allclose(correlations(features, attributes), expected)


def test_what_is_constant_correlates_with_nothing():
    features = np.column_stack([np.full(10, 0.1), np.arange(10.0)])
    attributes = np.column_stack([np.ones(10, bool), np.arange(10) >= 5])
    found = correlations(features, attributes)
    assert found[0].tolist() == [0, 0]
    assert found[1, 0] == 0
    assert found[1, 1] > 0.8


@given(SEEDS)
def test_the_planted_attribute_is_the_clear_one(seed):
    rng = np.random.default_rng(seed)
    attributes = rng.random((400, 6)) < 0.3
    planted = rng.permutation(6)
    features = attributes[:, planted] + 0.3 * rng.normal(size=(400, 6))
    best, clear = clear_truth(correlations(features, attributes), 0.5)
    assert np.array_equal(best, planted)
    assert clear.all()


def test_shuffled_images_leave_no_clear_truth():
    rng = np.random.default_rng(0)
    attributes = rng.random((400, 6)) < 0.3
    features = attributes + 0.3 * rng.normal(size=(400, 6))
    assert not clear_truth(correlations(rng.permutation(features), attributes), 0.5)[1].any()


def test_the_least_correlation_counts_as_clear():
    best, clear = clear_truth(np.array([[0.5, -0.9], [0.49, 0.2]]), 0.5)
    assert best.tolist() == [0, 0]
    assert clear.tolist() == [True, False]


def test_the_bootstrap_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    intervals = [bootstrap_interval(rng.random(60) < 0.3, 300, 0.9, rng) for _ in range(400)]
    assert np.mean([low <= 0.3 <= high for low, high in intervals]) == pytest.approx(0.9, abs=0.05)


@given(SEEDS, st.integers(1, 30))
def test_the_interval_surrounds_the_mean_and_narrows_with_confidence(seed, items):
    values = np.random.default_rng(seed).normal(size=items)
    wide, narrow = (bootstrap_interval(values, 400, confidence, np.random.default_rng(0)) for confidence in (0.99, 0.5))
    assert values.min() <= wide[0] <= narrow[0] <= narrow[1] <= wide[1] <= values.max()
    assert wide[0] <= values.mean() <= wide[1]


def test_no_items_are_refused():
    with pytest.raises(ValueError, match="no items"):
        bootstrap_interval(np.zeros(0), 10, 0.9, np.random.default_rng(0))


@given(SEEDS, st.sampled_from([2.0**-70, 2.0**-40, 2.0**70]), st.sampled_from([np.float32, np.float64]))
def test_the_unit_of_a_feature_does_not_matter_and_turning_it_turns_the_sign(seed, unit, width):
    rng = np.random.default_rng(seed)
    features, attributes = rng.integers(0, 4, (12, 3)).astype(width), rng.random((12, 2)) < 0.5
    features[:, 2] = 3
    found = correlations(features, attributes)
    assert np.allclose(correlations(width(unit) * features, attributes), found)
    assert np.allclose(correlations(-features, attributes), -found)
    assert np.allclose(correlations(features, ~attributes), -found)
    assert (np.abs(found) <= 1 + 1e-9).all() and not found[2].any()


@given(
    st.lists(st.lists(st.sampled_from([-1.0, 0.0, 0.4, 0.5, 1.0]), min_size=3, max_size=3), max_size=5),
    st.sampled_from([0.0, 0.4, 0.5, 1.0]) | st.floats(-1, 1),
)
def test_the_best_attribute_is_the_first_of_the_largest_and_clear_if_it_is_large_enough(rows, least):
    best, clear = clear_truth(np.array(rows).reshape(-1, 3), least)
    assert best.tolist() == [row.index(max(row)) for row in rows]
    assert clear.tolist() == [max(row) >= least for row in rows]


@given(SEEDS, st.integers(1, 8), st.sampled_from([0.25, 2.0, -4.0]), st.sampled_from([0.0, 16.0]))
def test_an_interval_moves_with_its_values(seed, items, unit, level):
    values = np.random.default_rng(seed).integers(-9, 9, items)
    low, high = bootstrap_interval(values, 100, 0.9, np.random.default_rng(seed))
    moved = bootstrap_interval(unit * values + level, 100, 0.9, np.random.default_rng(seed))
    assert np.allclose(sorted([unit * low + level, unit * high + level]), moved)
    assert bootstrap_interval(np.full(items, 0.5), 20, 0.9, np.random.default_rng(seed)) == (0.5, 0.5)


WORLDS = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 20)).map(lambda pair: (min(pair), pair[1])), min_size=2, max_size=6
)


@given(WORLDS)
def test_an_interval_over_worlds_is_a_share_that_narrows_with_confidence(worlds):
    hits, items = (np.array([world[side] for world in worlds]) for side in (0, 1))
    wide, narrow = (interval_over_worlds(hits, items, confidence) for confidence in (0.99, 0.5))
    assert 0 <= wide[0] < narrow[0] < narrow[1] < wide[1] <= 1
    turned = interval_over_worlds(items - hits, items, 0.99)
    assert np.allclose(turned, (1 - wide[1], 1 - wide[0]))


@pytest.mark.parametrize("items", [[], [4], [4, 0]])
def test_one_world_or_one_without_items_is_refused(items):
    with pytest.raises(ValueError, match="two worlds"):
        interval_over_worlds(np.zeros(len(items)), np.array(items), 0.9)


@pytest.mark.parametrize(
    ("share", "spread"), [(0.5, 0.0), (0.8, 0.04), (0.9, 0.02), (0.9, 0.04), (0.97, 0.02), (0.04, 0.02)]
)
@pytest.mark.parametrize("worlds", [5, 10])
def test_intervals_over_worlds_cover_the_true_share_as_often_as_they_say(share, spread, worlds):
    rng = np.random.default_rng(0)
    size = share * (1 - share) / spread**2 - 1 if spread else 1
    items = rng.integers(60, 130, (2000, worlds))
    shares = rng.beta(share * size, (1 - share) * size, items.shape) if spread else share
    found = [interval_over_worlds(*pair, 0.95) for pair in zip(rng.binomial(items, shares), items, strict=True)]
    assert 0.93 <= np.mean([low <= share <= high for low, high in found]) <= 0.97


def test_the_mean_over_worlds_has_students_interval_and_test():
    values = np.array([0.1, 0.3, 0.2, 0.4, 0.25])
    low, high, p = mean_over_worlds(values, 0.95)
    assert (low, high) == pytest.approx((0.1112, 0.3888), abs=1e-4)  # 0.25 +- 2.7764 * 0.1118 / sqrt(5)
    assert p == pytest.approx(0.0075, abs=5e-4)
    assert mean_over_worlds(np.array([0.5]), 0.95) == (0.5, 0.5, 0.0)
    assert mean_over_worlds(np.zeros(4), 0.95) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("larger", "smaller", "p"), [(0, 0, 1.0), (5, 5, 1.0), (8, 1, 0.0390625), (1, 8, 0.0390625), (5, 0, 0.0625)]
)
def test_the_sign_test_is_the_binomial_one(larger, smaller, p):
    assert sign_test(larger, smaller) == pytest.approx(p)


def test_methods_are_compared_on_the_same_items():
    settings = SimpleNamespace(seed=0, bootstrap=500, confidence=0.95)
    own, other = np.array([1.0] * 12 + [0.0] * 8), np.array([1.0] * 2 + [0.0] * 18)
    found = paired_difference(own, other, settings)
    assert found["difference"] == 0.5 and found["p_value"] == pytest.approx(2 / 2**10)
    assert 0.2 < found["interval_low"] < 0.5 < found["interval_high"] < 0.8
    assert paired_difference(other, own, settings)["difference"] == -0.5
    assert paired_difference(own[:0], other[:0], settings) == {}
