"""Words that replace each other become one concept; words that stand together do not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from stages.method import synonyms
from stages.method.synonyms import leaders, word_directions


def corpus(rng, noise=0.1, captions=300):
    """Four meanings, each with a frequent and a rarer name; the last word, a collocation, always follows word 0."""
    meaning = rng.integers(0, 4, captions)
    name = 2 * meaning + (rng.random(captions) < 0.3)
    texts = np.eye(8)[meaning] + noise * rng.standard_normal((captions, 8))
    incidence = np.zeros((captions, 9))
    incidence[np.arange(captions), name] = 1
    incidence[:, 8] = incidence[:, 0]
    return texts / np.linalg.norm(texts, axis=1, keepdims=True), sparse.csr_array(incidence)


@given(seed=st.integers(0, 200))
def test_rarer_name_follows_the_frequent_one(seed):
    texts, incidence = corpus(np.random.default_rng(seed))
    assert leaders(texts, incidence, 0.9, 5)[:8].tolist() == [0, 0, 2, 2, 4, 4, 6, 6]


@given(seed=st.integers(0, 200))
def test_collocation_is_no_synonym(seed):
    texts, incidence = corpus(np.random.default_rng(seed))
    assert leaders(texts, incidence, 0.9, 5)[0] == 0 and leaders(texts, incidence, 0.9, 5)[8] != 0


def test_above_one_nothing_is_merged():
    texts, incidence = corpus(np.random.default_rng(0))
    assert leaders(texts, incidence, 1.01, 5).tolist() == list(range(9))


def test_rare_words_stay_alone():
    texts, incidence = corpus(np.random.default_rng(0))
    assert leaders(texts, incidence, 0.9, 10_000).tolist() == list(range(9))


@given(seed=st.integers(0, 50))
def test_order_of_the_captions_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    texts, incidence = corpus(rng)
    order = rng.permutation(len(texts))
    assert leaders(texts[order], incidence[order], 0.9, 5).tolist() == leaders(texts, incidence, 0.9, 5).tolist()


def test_leader_is_its_own_leader():
    texts, incidence = corpus(np.random.default_rng(1), noise=0.8)
    leader = leaders(texts, incidence, 0.7, 1)
    assert (leader[leader] == leader).all()


def test_directions_are_unit_vectors():
    texts, incidence = corpus(np.random.default_rng(0))
    assert np.allclose(np.linalg.norm(word_directions(texts, incidence), axis=1), 1)


@pytest.mark.parametrize("size", [1, 7, 64, 300])
def test_reading_in_parts_changes_nothing(monkeypatch, size):
    texts, incidence = corpus(np.random.default_rng(0))
    whole, found = word_directions(texts, incidence), leaders(texts, incidence, 0.9, 5)
    monkeypatch.setattr(synonyms, "CAPTIONS_AT_ONCE", size)
    monkeypatch.setattr(synonyms, "PAIRS_AT_ONCE", size)
    assert np.allclose(word_directions(texts, incidence), whole, atol=1e-12)
    assert np.array_equal(leaders(texts, incidence, 0.9, 5), found)
