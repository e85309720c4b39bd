"""What the removal of a feature does is what a classifier, or a projection, gives for the changed features."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.evaluation.ablation import (
    Cosines,
    Logits,
    Removal,
    ablated,
    own_and_others,
    random_directions,
    strongest,
)
from falcon_dvc.evaluation.statistics import bootstrap_weights

SEEDS = st.integers(0, 2**32 - 1)
IMAGES, FEATURES, OUTPUTS = 12, 5, 4


def spaces(seed):
    """Features, a classifier with its outputs, and a projection with texts and its outputs."""
    rng = np.random.default_rng(seed)
    features, weights = rng.random((IMAGES, FEATURES)), rng.normal(size=(OUTPUTS, FEATURES))
    projection, texts = rng.normal(size=(FEATURES, 6)), unit(rng.normal(size=(OUTPUTS, 6)))
    return features, weights, projection, texts


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def removal(features, images=IMAGES, draws=50, level=0.0):
    rng = np.random.default_rng(1)
    return Removal(
        np.full(FEATURES, level), features.std(axis=0), images, random_directions(draws, FEATURES, rng),
        bootstrap_weights(images, 100, rng), 0.9,
    )  # fmt: skip


def without(features, feature, level=0.0):
    changed = features.copy()
    changed[:, feature] = level
    return changed


@given(SEEDS, st.floats(-1, 1))
def test_logits_fall_as_the_classifier_says(seed, level):
    features, weights, *_ = spaces(seed)
    logits = Logits(weights)
    found = ablated(features, np.arange(FEATURES), logits, removal(features, level=level))
    for feature in range(FEATURES):
        change = (features - without(features, feature, level)) @ weights.T
        expected = (change - change.mean(axis=1, keepdims=True)).mean(axis=0)
        assert np.allclose(found.falls[feature], expected)
        assert found.fall[feature] == pytest.approx(expected.max())
        amounts = features[:, feature] - level
        by_image = logits.falls_by_image(np.arange(IMAGES), amounts, logits.directions[feature], 2)
        assert by_image.mean() == pytest.approx(expected[2])
        falls = logits.falls(np.arange(IMAGES), amounts, logits.directions[feature][None])
        assert np.allclose(falls[0], expected)
        assert found.fall_low[feature] - 1e-9 <= found.fall[feature] <= found.fall_high[feature] + 1e-9


@given(SEEDS)
def test_what_moves_all_logits_alike_is_no_change(seed):
    features, weights, *_ = spaces(seed)
    shifted = weights + np.arange(FEATURES)
    first, second = (
        ablated(features, np.arange(FEATURES), Logits(some), removal(features)) for some in (weights, shifted)
    )
    assert np.allclose(first.falls, second.falls) and np.allclose(first.random_fall, second.random_fall)


@given(SEEDS)
def test_cosines_fall_as_the_projection_says(seed):
    features, _, projection, texts = spaces(seed)
    cosines = Cosines(features @ projection, projection, texts)
    found = ablated(features, np.arange(FEATURES), cosines, removal(features))
    before = unit(features @ projection) @ texts.T
    for feature in range(FEATURES):
        after = unit(without(features, feature) @ projection) @ texts.T
        assert np.allclose(found.falls[feature], (before - after).mean(axis=0))
        by_image = cosines.falls_by_image(np.arange(IMAGES), features[:, feature], projection[feature], 1)
        assert np.allclose(by_image, (before - after)[:, 1])
        falls = cosines.falls(np.arange(IMAGES), features[:, feature], projection[feature][None])
        assert np.allclose(falls[0], found.falls[feature])


def test_an_embedding_of_length_0_has_no_cosine():
    cosines = Cosines(np.array([[1.0, 0.0], [0.0, 0.0]]), np.eye(2), np.eye(2))
    falls = cosines.falls(np.arange(2), np.array([1.0, 0.0]), np.eye(2)[:1])
    assert falls.tolist() == [[0.5, 0.0]]


@given(SEEDS)
def test_only_the_feature_of_a_class_lowers_it_more_than_random_directions(seed):
    rng = np.random.default_rng(seed)
    features, weights = rng.random((IMAGES, FEATURES)) + 1, np.zeros((OUTPUTS, FEATURES))
    weights[3, 1] = 2.0
    found = ablated(features, np.arange(FEATURES), Logits(weights), removal(features))
    assert found.most[1] == 3 and found.p_value[1] == pytest.approx(1 / 51)
    assert found.fall[1] > found.random_fall[1] > 0
    assert found.rise[1] == pytest.approx(1.5 * features[:, 1].std())
    assert found.p_values[1, 3] == pytest.approx(1 / 51) and (found.p_values >= 1 / 51).all()
    assert found.random_fall[1] >= found.random_changes[1].mean() and found.random_changes[1, 3] > 0
    assert (np.delete(found.fall, 1) == 0).all() and (np.delete(found.p_value, 1) == 1).all()


@given(SEEDS, st.integers(1, 20), st.integers(1, 20))
def test_random_directions_have_length_1(seed, draws, features):
    found = random_directions(draws, features, np.random.default_rng(seed))
    assert found.shape == (draws, features) and np.allclose(np.linalg.norm(found, axis=1), 1)


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(0, 14))
def test_the_strongest_images_come_first(values, count):
    rows = strongest(np.array(values, dtype=float), count).tolist()
    assert rows == sorted(range(len(values)), key=lambda row: (-values[row], row))[:count]


@given(SEEDS, st.lists(st.integers(-1, OUTPUTS - 1), min_size=1, max_size=8))
def test_own_words_are_compared_with_those_of_all_other_features(seed, own):
    own = np.array(own)
    falls = np.random.default_rng(seed).normal(size=(len(own), OUTPUTS))
    at_own, others = own_and_others(falls, own)
    for feature, output in enumerate(own):
        rest = [falls[feature, other] for at, other in enumerate(own) if at != feature and other >= 0]
        assert at_own[feature] == falls[feature, output] if output >= 0 else np.isnan(at_own[feature])
        expected = np.mean(rest) if rest and output >= 0 else np.nan
        assert others[feature] == pytest.approx(expected, nan_ok=True)


def test_no_feature_and_no_image():
    features, weights, *_ = spaces(0)
    assert ablated(features, np.array([], dtype=int), Logits(weights), removal(features)).fall.size == 0
