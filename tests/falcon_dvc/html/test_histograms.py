"""How groups act on images: histograms and neighbours."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falcon_dvc.html import histograms
from falcon_dvc.html.histograms import BINS, Space, histogram, neighbours, sampled


def random_space(images, features, seed=0):
    return np.random.default_rng(seed).random((images, features)).astype(np.float32)


def test_histogram_counts_every_image_and_knows_the_threshold():
    values = random_space(500, 3)
    found = histogram(values, np.array([0.5, 0.7, 0.9]), [1])
    assert sum(found.counts) == 500 and len(found.counts) == BINS
    assert found.threshold == 0.7 and not found.relative and found.low == values[:, 1].min()


def test_a_group_fires_where_its_weakest_member_reaches_its_threshold():
    values, thresholds = random_space(500, 3), np.array([0.5, 0.7, 0.9])
    found = histogram(values, thresholds, [0, 2])
    edges = np.linspace(found.low, found.high, BINS + 1)
    fires = ((values[:, 0] >= 0.5) & (values[:, 2] >= 0.9)).sum()
    above = sum(count for count, edge in zip(found.counts, edges, strict=False) if edge >= 1)
    assert found.relative and found.threshold == 1.0 and above <= fires <= above + max(found.counts)


@pytest.mark.parametrize("threshold", [np.inf, 0.0, -1.0])
def test_a_group_without_usable_thresholds_has_no_line(threshold):
    found = histogram(random_space(50, 2), np.array([0.5, threshold]), [0, 1])
    assert found.threshold is None and not found.relative


def test_images_without_activation_are_counted_and_not_drawn():
    values = np.array([[0.0, 0.5, 0.0, 2.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]).T
    found = histogram(values, np.array([0.5]), [0])
    assert (found.zeros, sum(found.counts), found.low, found.high) == (7, 3, 0.5, 2.0)
    assert found.frequency == pytest.approx(0.3) and found.log10_frequency == pytest.approx(np.log10(0.3))
    never = histogram(0 * values, np.array([np.inf]), [0])
    assert never.frequency == 0 and np.isnan(never.log10_frequency) and sum(never.counts) == 10


def test_a_constant_feature_is_no_error():
    found = histogram(np.full((20, 1), 0.25, dtype=np.float32), np.array([np.inf]), [0])
    assert sum(found.counts) == 20 and found.high > found.low and found.threshold is None


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 12), st.integers(1, 5), st.integers(0, 99))
def test_neighbours_are_those_of_the_correlation_matrix(features, count, seed):
    one, two = random_space(40, features, seed), random_space(40, features + 1, seed + 1)
    members = [[feature] for feature in range(features)]
    among = [[feature] for feature in range(features + 1)]
    index, r = neighbours(Space(one, members), Space(two, among), count, same=False)
    matrix = np.corrcoef(one.T, two.T)[:features, features:].round(4)
    expected = np.argsort(-matrix, axis=1, kind="stable")[:, :count]
    assert np.allclose(r[:, : expected.shape[1]], np.take_along_axis(matrix, expected, axis=1), atol=2e-4)
    assert index.shape == (features, min(count, features + 1 + count))


def test_blocks_change_nothing(monkeypatch):
    space = Space(random_space(60, 17), [[feature] for feature in range(17)])
    whole = neighbours(space, space, 4, same=True)
    monkeypatch.setattr(histograms, "GROUPS_AT_ONCE", 5)
    parts = neighbours(space, space, 4, same=True)
    assert (whole[0] == parts[0]).all() and np.allclose(whole[1], parts[1], atol=1e-4)


def test_groups_that_share_a_feature_are_no_neighbours():
    space = Space(random_space(60, 3), [[0], [1], [2], [0, 1]])
    index, _ = neighbours(space, space, 4, same=True)
    assert set(index[0]) == {1, 2, -1} and set(index[3]) == {2, -1}


def test_a_constant_feature_correlates_with_nothing():
    values = random_space(60, 2)
    values[:, 1] = 0.5
    _, r = neighbours(Space(values, [[0]]), Space(values, [[1]]), 1, same=False)
    assert r[0, 0] == 0


def test_a_sample_is_spread_over_the_images():
    rows = np.arange(5, 50_005)
    found = sampled(rows)
    assert len(found) == histograms.MOST_IMAGES and found[0] == 5 and found[-1] == 50_004
    assert (sampled(rows[:7]) == rows[:7]).all() and len(sampled(rows[:0])) == 0
