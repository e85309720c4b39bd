"""Properties of correlations, intervals and tests, on any numbers."""

from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from falcon_dvc.claims.verdicts import Figure, is_positive
from falcon_dvc.evaluation.statistics import (
    bootstrap_weights,
    interval_of_correlations,
    mean_over_worlds,
    median_with_interval,
    paired_difference,
    sign_test,
    standardised,
    weighted_correlations,
)
from falcon_dvc.groups.activations import finite_features

SETTINGS = SimpleNamespace(seed=0, bootstrap=20, confidence=0.9)
NUMBERS = st.floats(-100, 100, width=32)
COLUMNS = st.tuples(st.integers(2, 8), st.integers(0, 3)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=NUMBERS)
)
ITEMS = arrays(np.float64, st.integers(1, 12), elements=st.sampled_from([0.0, 0.5, 1.0]))
COUNT = st.integers(0, 40)


@given(COLUMNS)
def test_standardised_columns_have_mean_0_and_deviation_1_or_are_0(columns):
    found = standardised(columns)
    spread = found.std(axis=0)
    assert np.allclose(found.mean(axis=0), 0, atol=1e-6)
    assert (np.isclose(spread, 1, atol=1e-6) | (found == 0).all(axis=0)).all()


@given(COLUMNS)
def test_a_column_correlates_with_itself_in_every_sample_and_its_interval_is_in_order(columns):
    weights = bootstrap_weights(len(columns), 20, np.random.default_rng(0))
    found = weighted_correlations(columns, columns, weights)
    assert found.shape == (20, columns.shape[1])
    assert (np.isclose(found, 1, atol=1e-6) | (found == 0)).all()
    low, high = interval_of_correlations(columns, columns[::-1], weights, 0.9)
    assert (low <= high).all() and (np.abs(low) <= 1 + 1e-6).all() and (np.abs(high) <= 1 + 1e-6).all()


@given(ITEMS)
def test_a_method_does_not_differ_from_itself_and_differences_change_sign(own):
    other = own[::-1]
    same, one, back = (paired_difference(*pair, SETTINGS) for pair in ((own, own), (own, other), (other, own)))
    assert (same["difference"], same["p_value"]) == (0, 1)
    assert one["difference"] == -back["difference"] and one["p_value"] == back["p_value"]
    assert one["interval_low"] <= one["interval_high"]


@given(COUNT, COUNT)
def test_the_sign_test_is_symmetric_and_a_larger_imbalance_is_less_likely(larger, smaller):
    found = sign_test(larger, smaller)
    assert 0 < found <= 1 and found == sign_test(smaller, larger)
    if larger >= smaller:
        assert sign_test(larger + 1, smaller) <= found + 1e-12


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8))
def test_the_mean_over_worlds_lies_in_its_interval(values):
    low, high, p_value = mean_over_worlds(np.array(values), 0.9)
    assert low <= np.mean(values) + 1e-12 and np.mean(values) <= high + 1e-12 and 0 <= p_value <= 1


@given(COLUMNS)
def test_finite_features_keep_their_values(columns):
    assert np.array_equal(finite_features(columns), columns)


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_difference_is_positive_if_its_whole_interval_is(value, below, above):
    found = is_positive(Figure(value, value - below, value + above))
    assert (found == "holds") == (value - below > 0) and (found == "does not hold") == (value + above < 0)


@given(ITEMS)
def test_the_median_lies_in_its_interval_of_values_and_what_was_not_measured_does_not_count(values):
    found = median_with_interval(values, SETTINGS)
    assert found["median"] == np.median(values)
    assert values.min() <= found["interval_low"] <= found["interval_high"] <= values.max()
    assert median_with_interval(np.append(values, np.nan), SETTINGS) == found
    assert median_with_interval(np.full(2, np.nan), SETTINGS) == {}
