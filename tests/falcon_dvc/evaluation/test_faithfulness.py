"""Faithfulness: a word that follows a feature on held-out images counts, one that follows any feature does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from falcon_dvc.evaluation.faithfulness import (
    correlations_with_words,
    faithfulness,
    p_values,
    reference_level,
    scores_of,
    words_of_others,
)

SEEDS = st.integers(0, 2**32 - 1)


def scores(seed: int, images: int = 60, words: int = 5) -> np.ndarray:
    """Sparse scores in [0, 1]; word 0 is on no image."""
    rng = np.random.default_rng(seed)
    found = np.where(rng.random((images, words)) < 0.4, rng.random((images, words)), 0.0)
    found[:, 0] = 0
    return found


@given(SEEDS)
def test_all_pairs_have_pearsons_correlation(seed):
    values, activations = scores(seed), np.random.default_rng(seed + 1).normal(size=(60, 3))
    activations[:, 2] = 0.3
    found = correlations_with_words(activations, sparse.csc_array(values))
    expected = [[np.corrcoef(activations[:, j], values[:, w])[0, 1] for w in range(1, 5)] for j in range(2)]
    assert np.allclose(found[:2, 1:], expected)
    assert not found[:, 0].any() and not found[2].any()


@given(SEEDS)
def test_matched_pairs_agree_with_all_pairs_and_no_word_has_no_correlation(seed):
    values, activations = sparse.csc_array(scores(seed)), np.random.default_rng(seed).normal(size=(60, 4))
    word = np.array([3, -1, 0, 1])
    found = faithfulness(activations, values, word)
    everything = correlations_with_words(activations, values)
    assert np.allclose(found[[0, 2, 3]], everything[[0, 2, 3], word[[0, 2, 3]]])
    assert found[1] == 0 and not scores_of(values, word)[:, 1].any()


@given(SEEDS)
def test_a_feature_that_follows_its_word_is_faithful_and_dropped_labels_lower_that(seed):
    rng, values = np.random.default_rng(seed), scores(seed, images=400)
    feature = (values[:, [1]] + 0.1 * rng.normal(size=(400, 1)),)
    fewer = np.where(rng.random(values.shape) < 0.5, values, 0)
    word = np.array([1])
    whole, dropped = (faithfulness(*feature, sparse.csc_array(of), word)[0] for of in (values, fewer))
    assert whole > 0.8 and dropped < whole - 0.1


def test_the_level_of_a_word_is_a_quantile_over_the_features_of_all_copies(monkeypatch):
    values = sparse.csc_array(scores(0))
    references = np.random.default_rng(1).normal(size=(3, 60, 7))
    together = np.concatenate([correlations_with_words(copy, values) for copy in references])
    level = reference_level(references, values, 0.9)
    assert np.allclose(level, np.quantile(together, 0.9, axis=0))
    monkeypatch.setattr("falcon_dvc.evaluation.faithfulness.WORDS_AT_ONCE", 2)
    assert np.allclose(reference_level(references, values, 0.9), level)


@given(SEEDS, st.integers(0, 20))
def test_p_values_count_the_null_and_are_never_zero(seed, size):
    rng = np.random.default_rng(seed)
    excess, null = rng.integers(-3, 4, 10) / 4, rng.integers(-3, 4, size) / 4
    expected = [(1 + (null >= value).sum()) / (size + 1) for value in excess]
    assert np.allclose(p_values(excess, null), expected)
    assert (p_values(excess, null) > 0).all()


def test_the_null_itself_has_uniform_p_values():
    rng = np.random.default_rng(0)
    found = p_values(rng.normal(size=4000), rng.normal(size=4000))
    assert np.mean(found <= 0.05) == pytest.approx(0.05, abs=0.01)


def test_the_word_of_another_row_is_drawn_as_often_as_it_comes_first_and_is_never_an_own_one():
    word = np.array([0, 0, 0, 1, 2, -1] * 400)
    own = np.zeros((len(word), 3))
    own[np.arange(len(word)), np.maximum(word, 0)] = word >= 0
    own[word == 1, 2] = 1
    drawn = words_of_others(word, sparse.csr_array(own), np.random.default_rng(0))
    assert not (own[np.arange(len(word)), drawn] > 0).any()
    assert (drawn[word == 1] == 0).all() and set(drawn[word == 0]) == {1, 2}
    assert abs((drawn[word == -1] == 0).mean() - 0.6) < 0.07


def test_without_a_word_of_another_there_is_none():
    own = sparse.csr_array(np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]))
    assert words_of_others(np.array([0, 0, -1]), own, np.random.default_rng(0)).tolist() == [-1, 0, -1]
    assert words_of_others(np.array([-1, -1]), own[:2], np.random.default_rng(0)).tolist() == [-1, -1]
