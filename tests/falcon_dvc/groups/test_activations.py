"""Steps 2 and 7: highly and lowly activating images, against loops written from the description."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from falcon_dvc.groups import activations
from falcon_dvc.groups.activations import (
    dense,
    fires_by_quantile,
    fires_by_rank,
    fires_by_sigma,
    highly_activating,
    lowly_activating,
    lowly_activating_distinct,
    picked,
    redundant,
    row_normalised,
)
from tests.support.matrices import matrices

SEEDS = st.integers(0, 2**32 - 1)
RULES = st.sampled_from(["top_k", "quantile", "sigma"])


def relu_features(seed: int, images: int = 30, features: int = 6) -> np.ndarray:
    """Features as after a ReLU: many exact zeros, different scales, one that never fires and one that is constant."""
    rng = np.random.default_rng(seed)
    values = np.maximum(rng.normal(size=(images, features)), 0) * rng.uniform(0.01, 3, features)
    values[:, 0] = 0
    return values


def fires_of(values: np.ndarray, rule: str) -> np.ndarray:
    return highly_activating(values, rule, top_k=5, quantile=0.9, sigma=1.5)


@given(SEEDS)
def test_rows_have_unit_length_and_zero_rows_stay_zero(seed):
    features = relu_features(seed)
    features[3] = 0
    lengths = np.linalg.norm(row_normalised(features), axis=1)
    assert np.allclose(lengths, np.linalg.norm(features, axis=1) > 0)


@given(SEEDS, st.floats(1e-3, 1e3))
def test_normalised_rows_forget_the_scale_of_an_image(seed, scale):
    features = relu_features(seed)
    assert np.allclose(row_normalised(features), row_normalised(features * scale))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(bad):
    features = relu_features(0)
    features[7, 2] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        row_normalised(features)


@given(SEEDS)
def test_sigma_is_one_threshold_for_the_whole_matrix(seed):
    values = row_normalised(relu_features(seed))
    cells = values.reshape(-1).tolist()
    mean = sum(cells) / len(cells)
    threshold = mean + 1.5 * (sum((cell - mean) ** 2 for cell in cells) / len(cells)) ** 0.5
    for (image, feature), fires in np.ndenumerate(fires_of(values, "sigma")):
        assert fires == (values[image, feature] >= threshold and len(set(values[:, feature])) > 1)


@given(SEEDS)
def test_top_k_takes_the_strongest_images_above_the_features_own_mean(seed):
    values = row_normalised(relu_features(seed))
    fires = fires_of(values, "top_k")
    for feature in range(values.shape[1]):
        column = values[:, feature]
        strongest = sorted(range(len(column)), key=lambda image: (-column[image], image))[:5]
        assert set(np.flatnonzero(fires[:, feature])) == {
            image for image in strongest if column[image] > column.mean() + 1e-15
        }


@given(SEEDS)
def test_quantile_is_each_features_own(seed):
    values = np.random.default_rng(seed).normal(size=(40, 4)) * [0.001, 1, 10, 100]
    assert (fires_of(values, "quantile").sum(axis=0) == 4).all()


@given(SEEDS, RULES)
def test_the_order_of_the_images_does_not_matter(seed, rule):
    rng = np.random.default_rng(seed)
    values = row_normalised(rng.normal(size=(30, 5)))
    order = rng.permutation(30)
    assert np.array_equal(fires_of(values[order], rule), fires_of(values, rule)[order])


@pytest.mark.parametrize("rule", ["top_k", "quantile", "sigma"])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_constant_feature_never_fires(rule, level):
    values = 0.1 * np.random.default_rng(0).normal(size=(50, 4))
    values[0, 0], values[:, 2] = 2, level
    fires = fires_of(values, rule)
    assert not fires[:, 2].any()
    assert fires[:, 0].any()


@given(SEEDS)
def test_an_image_without_activation_never_counts_among_the_strongest(seed):
    values = np.zeros((20, 2))
    values[np.random.default_rng(seed).choice(20, 3, replace=False), 0] = 1
    assert np.array_equal(fires_of(values, "top_k"), values > 0)
    assert np.array_equal(fires_of(values, "quantile"), values > 0)


def random_groups(seed: int, groups: int, images: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    members = rng.random((groups, features)) < 0.3
    members[np.arange(groups), rng.integers(0, features, groups)] = True
    return members, rng.random((groups, images)) < 0.2


def lowly_by_loops(values, members, images, count, similarity):
    """The released ranking, with the cosine in place of the plain product, one image at a time."""
    found = []
    for inside, own in zip(members, images, strict=True):
        outside = [j for j in range(values.shape[1]) if not inside[j]]
        mine = [values[a][outside] for a in range(len(values)) if own[a]]
        centre = sum(mine) / len(mine) if mine else np.zeros(len(outside))
        ranked = []
        for image in range(len(values)):
            if own[image] or any(values[image, j] >= values.mean() for j in range(values.shape[1]) if inside[j]):
                continue
            rest = values[image][outside]
            lengths = float(np.sqrt(rest @ rest) * np.sqrt(centre @ centre))
            cosine = float(rest @ centre) / lengths if lengths > 1e-9 else 0.0
            if round(cosine, 12) >= similarity:
                ranked.append((-round(cosine, 12), image))
        found.append(sorted(ranked)[:count])
    return found


@given(SEEDS, st.sampled_from([0.0, 0.3, 0.8]))
def test_lowly_activating_images_are_those_of_the_loops(seed, similarity):
    values = row_normalised(relu_features(seed))
    members, images = random_groups(seed, 5, *values.shape)
    rows, cosines = lowly_activating(values, members, images, 4, similarity)
    for group, expected in enumerate(lowly_by_loops(values, members, images, 4, similarity)):
        assert np.allclose(cosines[group, : len(expected)], [-cosine for cosine, _ in expected])
        assert (rows[group, len(expected) :] == -1).all()
        assert (cosines[group, len(expected) :] == -np.inf).all()
        assert rows[group, : len(expected)].tolist() == [image for _, image in expected]


def test_no_lowly_activating_images_can_be_asked_for():
    values = row_normalised(relu_features(0))
    rows, cosines = lowly_activating(values, *random_groups(0, 5, *values.shape), 0, 0.3)
    assert rows.shape == cosines.shape == (5, 0)


@given(SEEDS)
def test_the_order_in_which_groups_are_evaluated_does_not_matter(seed):
    values = row_normalised(relu_features(seed))
    members, images = random_groups(seed, 6, *values.shape)
    order = np.random.default_rng(seed).permutation(6)
    straight, mixed = (lowly_activating(values, members[o], images[o], 4, 0.3) for o in (np.arange(6), order))
    assert np.array_equal(straight[0][order], mixed[0])


@given(SEEDS)
def test_a_groups_own_images_are_never_lowly_activating(seed):
    """A feature on a scale so small that all its values lie below the mean of the matrix."""
    rng = np.random.default_rng(seed)
    features = rng.uniform(1, 2, (40, 5))
    features[:, 0] *= 1e-3
    values = row_normalised(features)
    images = fires_of(values, "top_k")[:, :1].T
    rows, _ = lowly_activating(values, np.eye(5, dtype=bool)[:1], images, 40, -1.0)
    assert images.sum() == 5
    assert not set(rows[rows >= 0]) & set(np.flatnonzero(images[0]))


def test_groups_of_one_image_of_none_and_of_all_features_are_answered():
    values = row_normalised(np.random.default_rng(0).normal(size=(10, 3)))
    members = np.array([[True, False, False], [True, False, False], [True, True, True]])
    images = np.zeros((3, 10), dtype=bool)
    images[0, 4] = images[2, 5] = True
    rows, cosines = lowly_activating(values, members, images, 3, 0.3)
    assert not np.isnan(cosines).any()
    assert (rows[1:] == -1).all()


def test_a_lookalike_without_the_group_is_found_first():
    """Feature 0 sees the boat, 1 the water, 2 the grass: the counterfactual of boats on water is water without a boat."""
    values = row_normalised(np.array([[3, 1, 0], [3, 1, 0.1], [0, 1, 0.2], [0, 0.2, 1], [0, 0, 1.0]]))
    rows, _ = lowly_activating(
        values, np.array([[True, False, False]]), np.array([[True, True, False, False, False]]), 5, 0.3
    )
    assert rows[0].tolist() == [2, -1, -1, -1, -1]


@given(SEEDS, st.floats(0.1, 1.5))
def test_a_feature_is_redundant_if_the_group_fires_on_most_of_its_images(seed, share):
    rng = np.random.default_rng(seed)
    fires, images = rng.random((40, 6)) < 0.3, rng.random((3, 40)) < 0.5
    found = redundant(fires, images, share)
    for group, feature in np.ndindex(3, 6):
        own = fires[:, feature]
        assert found[group, feature] == (own.any() and (images[group] & own).sum() / own.sum() >= share - 1e-12)


def world_of_boats(rng):
    """Boats stand on water, other things on either ground. Features 0 and 1 see boats, each missing some; 2 the water, 3 the grass."""
    boat, water = np.zeros(400, bool), rng.random(400) < 0.5
    boat[:40] = True
    water[:40] = True
    seen = np.stack([boat & (np.arange(400) % 4 != 0), boat & (np.arange(400) % 4 != 1), water, ~water], axis=1)
    return boat, water, row_normalised(seen + 0.02 * rng.random((400, 4)))


@given(SEEDS)
def test_matching_without_redundant_features_leaves_no_boat_among_the_low_images(seed):
    """Another feature codes the boat too: the released matching takes the very boats that the explained feature misses."""
    boat, water, values = world_of_boats(np.random.default_rng(seed))
    fires = values > 0.3
    members, images = np.eye(4, dtype=bool)[:1], fires.T[:1]
    released, _ = lowly_activating(values, members, images, 10, 0.3)
    distinct, _ = lowly_activating_distinct(values, fires, members, images, 10, 0.3, 0.5)
    assert boat[released[0]].all()
    assert not boat[distinct[0]].any()
    assert water[distinct[0]].all(), "the context, which fires elsewhere too, is still matched"


@given(SEEDS)
def test_low_images_never_fire_the_group_and_do_not_depend_on_the_order_of_images(seed):
    rng = np.random.default_rng(seed)
    values = row_normalised(relu_features(seed, images=40))
    fires = fires_of(values, "quantile")
    members, images = random_groups(seed, 3, 40, 6)
    rows, cosines = lowly_activating_distinct(values, fires, members, images, 5, -1.0, 0.8)
    for group in range(3):
        chosen = rows[group][rows[group] >= 0]
        assert not images[group, chosen].any()
        assert not fires[np.ix_(chosen, np.flatnonzero(members[group]))].any()
    order = rng.permutation(40)
    _, same = lowly_activating_distinct(values[order], fires[order], members, images[:, order], 5, -1.0, 0.8)
    assert np.allclose(same, cosines)


@given(count=st.integers(0, 30), most=st.integers(1, 12), seed=st.integers(0, 99))
def test_picked_images_fire_and_are_ordered(count, most, seed):
    activation = np.random.default_rng(seed).permutation(30).astype(float)[None]
    fires = (activation >= 30 - count).reshape(1, 30)
    for pick in ("spread", "strongest"):
        rows = picked(activation, fires, most, pick)[0]
        chosen = rows[rows >= 0]
        assert len(chosen) == min(count, most) == len(set(chosen.tolist()))
        assert fires[0, chosen].all() and (np.diff(activation[0, chosen]) < 0).all()
        if pick == "strongest":
            assert activation[0, chosen].tolist() == list(range(29, 29 - len(chosen), -1))
        elif len(chosen) > 1:
            assert activation[0, chosen[0]] == 29 and activation[0, chosen[-1]] == 30 - count


# Whatever the numbers are: ties, zeros of both signs, constant columns, any scale and width


@given(matrices())
def test_a_normalised_row_points_where_the_row_does_and_stays_as_it_is(features):
    found, rows = row_normalised(features), features.astype(np.float64)
    assert np.allclose(found * np.linalg.norm(rows, axis=1, keepdims=True), rows, rtol=1e-12, atol=0)
    assert np.allclose(row_normalised(found), found, rtol=1e-12, atol=0)


@given(matrices(scales=(1.0, 2.0**-20, 2.0**20)), st.sampled_from([2.0, 2.0**40, 2.0**-40]))
def test_the_size_of_an_image_is_forgotten_to_the_last_bit(features, scale):
    assert np.array_equal(row_normalised(features * features.dtype.type(scale)), row_normalised(features))


FIRING = matrices(rows=(1, 40), scales=(1.0, -1.0, 0.0, 0.25))
SHARES = st.sampled_from([0.0, 0.25, 0.5, 0.8, 0.9, 1.0])


def varying(values: np.ndarray) -> np.ndarray:
    return np.array([len(set(column)) > 1 for column in values.T])


def above_mean(values: np.ndarray) -> np.ndarray:
    """In whole numbers: quarters times four, so that no rounding decides."""
    return 4 * values * len(values) > (4 * values).sum(axis=0)


@given(FIRING, st.sampled_from([0.0, 0.5, 1.0, 5.0]), st.sampled_from([2.0, 1024.0]))
def test_a_higher_sigma_fires_less_and_the_unit_of_the_matrix_does_not_matter(values, sigma, unit):
    fires = fires_by_sigma(values, sigma)
    assert not (fires_by_sigma(values, sigma + 1) & ~fires).any()
    assert not fires[:, ~varying(values)].any()
    assert np.array_equal(fires_by_sigma(unit * values, sigma), fires)
    weakest, silent = values[fires].min(initial=np.inf), values[:, varying(values)][~fires[:, varying(values)]]
    assert silent.max(initial=-np.inf) < weakest, "one threshold for all features"


@given(FIRING, st.sampled_from([0.0, 1.0, 5.0]), st.integers(1, 20))
def test_the_threshold_is_of_the_whole_matrix_whatever_a_thread_reads_at_once(values, sigma, at_once):
    with mock.patch.object(activations, "VALUES_AT_ONCE", at_once):
        fires = fires_by_sigma(values, sigma)
    threshold = values.astype(np.float64).mean() + sigma * values.astype(np.float64).std()
    clear = varying(values) & (np.abs(values - threshold) > 1e-6 * np.abs(values).max(initial=0))
    assert np.array_equal(fires & clear, (values > threshold) & clear)


@given(FIRING, SHARES)
def test_an_image_fires_if_enough_others_lie_no_higher(values, quantile):
    fires = fires_by_quantile(values, quantile)
    no_higher = (values[None] <= values[:, None]).sum(axis=1) - 1
    expected = (no_higher >= quantile * (len(values) - 1)) & above_mean(values)
    assert np.array_equal(fires, expected)


@given(FIRING, st.integers(1, 16))
def test_the_earlier_of_equal_images_fires_and_a_larger_k_fires_more(values, top_k):
    fires = fires_by_rank(values, top_k)
    for own, column, above in zip(fires.T, values.T, above_mean(values).T, strict=True):
        strongest = sorted(range(len(column)), key=lambda image: (-column[image], image))[:top_k]
        assert np.flatnonzero(own).tolist() == sorted(image for image in strongest if above[image])
    assert not (fires & ~fires_by_rank(values, top_k + 1)).any()


@given(FIRING, SHARES, st.integers(1, 9))
def test_each_rule_answers_for_itself_alone(values, quantile, top_k):
    settings = {"top_k": top_k, "quantile": quantile, "sigma": 4 * quantile}
    found = {rule: highly_activating(values, rule, **settings) for rule in settings}
    assert np.array_equal(found["top_k"], fires_by_rank(values, top_k))
    assert np.array_equal(found["quantile"], fires_by_quantile(values, quantile))
    assert np.array_equal(found["sigma"], fires_by_sigma(values, 4 * quantile))


@given(FIRING, st.integers(1, 12), st.sampled_from(["spread", "strongest"]), SEEDS)
def test_images_are_picked_for_each_group_alone_and_the_earlier_of_equals_first(values, most, pick, seed):
    activation, fires = values.T, np.random.default_rng(seed).random(values.T.shape) < 0.6
    rows = picked(activation, fires, most, pick)
    for group, (own, firing) in enumerate(zip(activation, fires, strict=True)):
        alone = picked(own[None], firing[None], most, pick)[0]
        assert np.array_equal(rows[group], alone)
        ranked = sorted(np.flatnonzero(firing), key=lambda image: (-own[image], image))
        places = [ranked.index(image) for image in alone[alone >= 0]]
        assert places == sorted(set(places)) and len(places) == min(most, len(ranked))
        assert pick == "spread" or places == list(range(len(places)))
        gaps = np.diff(places)
        assert gaps.max(initial=0) - gaps.min(initial=len(ranked)) <= 1, "evenly over the ranks"


@given(SEEDS, st.sampled_from([0.4, 1.1]))
def test_low_images_of_a_group_do_not_depend_on_the_other_groups(seed, redundancy):
    values = row_normalised(relu_features(seed))
    members, images = random_groups(seed, 4, *values.shape)
    settings = {"count": 4, "similarity": 0.2, "redundancy": redundancy}
    fires = fires_of(values, "quantile")
    rows, cosines = lowly_activating_distinct(values, fires, members, images, **settings)
    for group in range(4):
        own = slice(group, group + 1)
        alone = lowly_activating_distinct(values, fires, members[own], images[own], **settings)
        assert np.array_equal(alone[0][0], rows[group]) and np.allclose(alone[1][0], cosines[group])
    assert not np.isnan(cosines).any()
    assert ((np.isneginf(cosines) | (cosines >= 0.2)) & (cosines <= 1)).all()
    assert (cosines[:, :-1] >= cosines[:, 1:]).all()


@given(SEEDS, RULES, st.sampled_from([2, 256]))
def test_sparse_features_fire_and_are_compared_as_dense_ones(seed, rule, at_once):
    values = relu_features(seed)
    stored = sparse.csr_array(values)
    assert np.array_equal(dense(stored), dense(values))
    with mock.patch.object(activations, "COLUMNS_AT_ONCE", at_once):
        fires = fires_of(stored, rule)
    assert np.array_equal(fires, fires_of(values, rule))
    images, members = fires.T, np.eye(values.shape[1], dtype=bool)
    for found, expected in zip(
        lowly_activating(stored, members, images, 5, 0.1),
        lowly_activating(values, members, images, 5, 0.1),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected)
