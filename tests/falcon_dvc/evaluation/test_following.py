"""Ranking by what follows the activation: plain correlations, in blocks, and a companion that loses to the word itself."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.special import softmax

from falcon_dvc.evaluation import following
from falcon_dvc.evaluation.following import (
    correlations_of_entries,
    correlations_with_probabilities,
    values_of_entries,
)

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
    values = values_of_entries(of_captions, of_words, np.arange(2), group, concept, 0.25)
    assert abs(of_captions[0] - of_captions[1]) < 0.01 and values[1] > values[0] + 0.3


def test_concepts_without_an_embedding_have_the_first_term_alone():
    values = values_of_entries(
        np.array([0.5, 0.2]), np.array([[1.0]]), np.array([4]), np.zeros(2, int), np.array([9, 4]), 0.5
    )
    assert values.tolist() == [0.5, 0.7]
