"""Ranking by what follows the activation: plain correlations, in blocks, and a companion that loses to the word itself."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.special import softmax

from falcon_dvc.evaluation import following
from falcon_dvc.evaluation.following import (
    Following,
    correlations_of_entries,
    correlations_with_probabilities,
    largest_by_chance,
    values_of_entries,
)
from falcon_dvc.evaluation.rivals import nearest_text

SEEDS = st.integers(0, 10_000)


@given(SEEDS)
def test_each_entry_has_the_correlation_of_its_pair(seed):
    rng = np.random.default_rng(seed)
    activations = rng.normal(size=(30, 4))
    scores = np.where(rng.random((30, 6)) < 0.5, rng.random((30, 6)), 0)
    group, concept = rng.integers(0, 4, 9), rng.integers(0, 6, 9)
    found = correlations_of_entries(activations, sparse.csr_array(scores), group, concept)
    expected = [np.corrcoef(activations[:, j], scores[:, w])[0, 1] for j, w in zip(group, concept, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_blocks_of_features_and_images_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    activations, scores = rng.normal(size=(50, 7)), sparse.csr_array(rng.random((50, 5)))
    group, concept = np.repeat(np.arange(7), 5), np.tile(np.arange(5), 7)
    images, words = rng.normal(size=(50, 3)), rng.normal(size=(5, 3))
    whole = correlations_of_entries(activations, scores, group, concept)
    probabilities = correlations_with_probabilities(activations, images, words, 2.0)
    monkeypatch.setattr(following, "FEATURES_AT_ONCE", 3)
    monkeypatch.setattr(following, "IMAGES_AT_ONCE", 11)
    np.testing.assert_allclose(correlations_of_entries(activations, scores, group, concept), whole, atol=1e-12)
    np.testing.assert_allclose(
        correlations_with_probabilities(activations, images, words, 2.0), probabilities, atol=1e-12
    )


@given(SEEDS, st.floats(0.1, 20))
def test_probabilities_are_a_softmax_over_words_of_centred_cosines(seed, sharpness):
    rng = np.random.default_rng(seed)
    activations, images, words = rng.normal(size=(40, 3)), rng.normal(size=(40, 4)), rng.normal(size=(5, 4))
    images[:, 0] += 3  # the gap between images and texts
    probability = softmax(sharpness * (images - images.mean(0)) @ (words - words.mean(0)).T, axis=1)
    expected = [[np.corrcoef(activations[:, j], probability[:, w])[0, 1] for w in range(5)] for j in range(3)]
    np.testing.assert_allclose(
        correlations_with_probabilities(activations, images, words, sharpness), expected, atol=1e-7
    )


def test_constants_correlate_with_nothing():
    ones = np.ones((9, 2))
    assert not correlations_with_probabilities(ones, np.eye(9), np.eye(9)[:3], 1.0).any()
    assert not correlations_with_probabilities(np.eye(9), ones, ones[:3], 1.0).any()


def test_a_companion_in_the_captions_loses_to_the_word_that_images_resemble():
    """`man` and `saxophone` are in the same captions; only the images of the feature resemble a saxophone."""
    rng = np.random.default_rng(0)
    fires = rng.random(200) < 0.3
    captions = sparse.csr_array(np.column_stack([fires, fires]) + 0.01 * rng.random((200, 2)))
    images = np.column_stack([np.ones(200), fires]) + 0.1 * rng.normal(size=(200, 2))
    group, concept = np.array([0, 0]), np.array([0, 1])
    of_captions = correlations_of_entries(fires[:, None].astype(float), captions, group, concept)
    of_words = correlations_with_probabilities(fires[:, None].astype(float), images, np.eye(2), 10.0)
    values = values_of_entries(of_captions, 0.25 * of_words, np.arange(2), group, concept)
    assert abs(of_captions[0] - of_captions[1]) < 0.01 and values[1] > values[0] + 0.3


def test_concepts_without_an_embedding_have_the_first_term_alone():
    values = values_of_entries(
        np.array([0.5, 0.2]), np.array([[0.5]]), np.array([4]), np.zeros(2, int), np.array([9, 4])
    )
    assert values.tolist() == [0.5, 0.7]


def some_following(seed, groups=5, concepts=7, words=4, **weights):
    """Random activations, scores and embeddings; the last concepts are phrases, which have no embedding."""
    rng = np.random.default_rng(seed)
    scores = sparse.csr_array(np.where(rng.random((40, concepts)) < 0.5, rng.random((40, concepts)), 0))
    weights = {"word_weight": 0.5, "nearest_weight": 2.0, "sharpness": 3.0} | weights
    images, texts = rng.normal(size=(40, 3)), rng.normal(size=(words, 3))
    return Following(rng.normal(size=(40, groups)), scores, np.arange(words), images, texts, **weights)


@given(SEEDS)
def test_a_value_is_the_weighted_sum_of_three_terms(seed):
    found = some_following(seed)
    group, concept = np.repeat(np.arange(5), 7), np.tile(np.arange(7), 5)
    expected = correlations_of_entries(found.activations, found.scores, group, concept).reshape(5, 7)
    expected[:, :4] += 0.5 * correlations_with_probabilities(found.activations, found.images, found.texts, 3.0)
    expected[:, :4] += 2.0 * nearest_text(found.images, found.activations, found.texts)
    np.testing.assert_allclose(found.values(group, concept).reshape(5, 7), expected, atol=1e-9)


def test_without_the_terms_of_words_only_captions_count_and_nothing_is_allocated_for_words():
    found = some_following(0, word_weight=0.0, nearest_weight=0.0)
    group, concept = np.repeat(np.arange(5), 7), np.tile(np.arange(7), 5)
    assert found.of_words is None
    expected = correlations_of_entries(found.activations, found.scores, group, concept)
    np.testing.assert_array_equal(found.values(group, concept), expected)
    best = found.best_words(1)[1]
    np.testing.assert_array_equal(best, expected.reshape(5, 7)[:, :4].argmax(axis=1))


@given(SEEDS)
def test_the_best_of_many_unrelated_concepts_is_weak_and_one_that_is_followed_is_not(seed):
    rng = np.random.default_rng(seed)
    scores = rng.random((400, 60))
    activations = np.column_stack([rng.normal(size=400), scores[:, 7] + 0.2 * rng.normal(size=400)])
    nothing = np.zeros((400, 1)), np.zeros((60, 1))
    found = Following(activations, sparse.csr_array(scores), np.arange(60), *nothing, 0.0, 0.0, 1.0)
    entries = SimpleNamespace(group=np.repeat([0, 1], 60), concept=np.tile(np.arange(60), 2))
    ranked = found.ranking(2.0, 0.9999)(entries, np.ones(120))
    assert ranked.weak[:60].all() and not ranked.weak[60 + 7]
    np.testing.assert_allclose(ranked.value, found.values(entries.group, entries.concept) + 2)


@pytest.mark.parametrize(("images", "concepts"), [(100, 1), (100, 1000), (10_000, 1000)])
def test_chance_exceeds_its_level_as_seldom_as_the_confidence_says(images, concepts):
    level = largest_by_chance(images, concepts, 0.95)
    largest = np.random.default_rng(0).normal(size=(400, concepts)).max(axis=1) / np.sqrt(images)
    assert 0.91 < (largest <= level).mean() < 0.99


@given(SEEDS, st.integers(1, 6))
def test_the_best_words_have_the_largest_values_of_all_words(seed, count):
    found = some_following(seed)
    group, concept = found.best_words(count)
    every = found.values(np.repeat(np.arange(5), 4), np.tile(np.arange(4), 5)).reshape(5, 4)
    expected = np.argsort(-every, axis=1, kind="stable")[:, :count]
    np.testing.assert_array_equal(concept.reshape(5, -1), expected)
    np.testing.assert_array_equal(group, np.repeat(np.arange(5), expected.shape[1]))


def test_the_best_words_of_blocks_are_those_of_all_groups(monkeypatch):
    whole = some_following(0).best_words(2)
    monkeypatch.setattr(following, "FEATURES_AT_ONCE", 2)
    np.testing.assert_array_equal(some_following(0).best_words(2), whole)
