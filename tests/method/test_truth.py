"""Planted truth: the attribute that a feature sees, and intervals of a mean."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.method.truth import bootstrap_interval, clear_truth, correlations

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
