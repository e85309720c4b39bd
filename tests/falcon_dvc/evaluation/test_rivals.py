"""Other methods: CLIP-Dissect equals the formula of its released code, and planted words are found by each."""

import numpy as np
import pytest
from scipy import sparse
from scipy.special import logsumexp, softmax

from falcon_dvc.evaluation.rivals import (
    caption_correlation,
    clip_dissect,
    contrastive_projection,
    nearest_text,
    strongest,
)


def planted(seed: int, images: int = 300, features: int = 12, dim: int = 24):
    """Images that show one of several words; feature j follows word j."""
    rng = np.random.default_rng(seed)
    words = np.linalg.qr(rng.normal(size=(dim, dim)))[0][:features]
    shown = rng.integers(0, features, images)
    embeddings = words[shown] + 0.1 * rng.normal(size=(images, dim))
    activations = (shown[:, None] == np.arange(features)) + 0.2 * rng.random((images, features))
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True), activations, words, shown


def released_soft_wpmi(images, activations, words, top=100, a=10.0, lam=1.0):
    """Write the formula of the released code with plain NumPy."""
    given = softmax(a * images @ words.T, axis=1)
    weight = (0.998 - np.arange(top) / top * (0.998 - 0.97))[:, None]
    rows = np.argsort(-activations, axis=0, kind="stable")[:top]
    log = np.array(
        [np.log(1 + weight * (given[rows[:, j]] - 1) + 1e-7).sum(axis=0) for j in range(activations.shape[1])]
    )
    return log - lam * (logsumexp(log, axis=0) - np.log(len(log)))


@pytest.mark.parametrize("seed", range(3))
def test_clip_dissect_is_the_released_formula(seed):
    images, activations, words, _ = planted(seed)
    found, expected = clip_dissect(images, activations, words), released_soft_wpmi(images, activations, words)
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-2)
    assert np.mean(found.argmax(axis=1) == expected.argmax(axis=1)) >= 0.99


@pytest.mark.parametrize("seed", range(3))
def test_planted_words_are_found(seed):
    images, activations, words, shown = planted(seed)
    scores = sparse.csr_array((shown[:, None] == np.arange(12)).astype(float))
    assert np.array_equal(nearest_text(images, activations, words, top=15).argmax(axis=1), np.arange(12))
    assert np.array_equal(caption_correlation(activations, scores).argmax(axis=1), np.arange(12))


def test_the_projection_removes_what_the_negatives_share():
    words = np.eye(6)
    ground = 0.8 * words[4]
    high = np.stack([np.tile(0.6 * words[feature] + ground, (5, 1)) for feature in range(4)])
    low = np.stack([np.tile(words[4], (5, 1)) for _ in range(4)])
    with_low = contrastive_projection(high, low, words, gamma=1.0)
    assert np.array_equal(with_low.argmax(axis=1), np.arange(4))
    padded = np.concatenate([high, np.zeros((4, 3, 6))], axis=1)
    assert np.allclose(contrastive_projection(padded, low, words, gamma=1.0), with_low)


def test_the_strongest_images_come_first_and_ties_go_to_the_earlier():
    assert strongest(np.array([[1.0], [3.0], [3.0], [2.0]]), 3).tolist() == [[1, 2, 3]]
