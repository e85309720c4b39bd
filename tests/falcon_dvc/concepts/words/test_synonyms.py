"""Words that replace each other become one concept; words that stand together do not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from falcon_dvc.concepts.words import synonyms
from falcon_dvc.concepts.words.synonyms import leaders, word_directions


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


@given(seed=st.integers(0, 200), size=st.integers(1, 40), width=st.sampled_from([np.float16, np.float32, np.float64]))
def test_a_direction_is_what_sets_a_words_captions_apart_however_often_they_are_read(seed, size, width):
    """What all captions share says nothing, and a word that all of them mention has no direction, not one of last bits."""
    rng = np.random.default_rng(seed)
    texts, incidence = corpus(rng, captions=40)
    mentioned = np.column_stack([incidence.toarray(), np.ones(40)])
    mentioned = sparse.csr_array(mentioned[:, mentioned.any(axis=0)])
    texts = (texts + rng.normal(size=8)).astype(width)
    found = word_directions(texts, mentioned)
    assert not found[-1].any()
    centred = texts.astype(float) - texts.astype(float).mean(axis=0)
    for direction, word in zip(found[:-1], mentioned.toarray().T[:-1], strict=True):
        mean = centred[word > 0].mean(axis=0)
        assert np.allclose(direction * np.linalg.norm(mean), mean) and np.linalg.norm(direction) == pytest.approx(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synonyms, "CAPTIONS_AT_ONCE", size)
        twice = sparse.csr_array(sparse.vstack([mentioned, mentioned]))
        assert np.allclose(word_directions(np.tile(texts, (2, 1)), twice), found, atol=1e-9)


@given(seed=st.integers(0, 200), similarity=st.floats(0.1, 1), mentions=st.integers(0, 60))
def test_a_leader_leads_itself_is_no_rarer_than_its_followers_and_says_the_same(seed, similarity, mentions):
    texts, incidence = corpus(np.random.default_rng(seed), noise=0.6, captions=80)
    incidence = incidence[:, np.flatnonzero(incidence.sum(axis=0))]
    count, directions = incidence.sum(axis=0), word_directions(texts, incidence)
    leader = leaders(texts, incidence, similarity, mentions)
    assert (leader[leader] == leader).all() and (count[leader] >= count).all()
    following = np.flatnonzero(leader != np.arange(len(leader)))
    assert (count[following] >= mentions).all()
    assert ((directions[following] * directions[leader[following]]).sum(axis=1) >= similarity - 1e-8).all()
    order = np.lexsort((np.arange(len(count)), -count))
    moved = leaders(texts, incidence[:, order], similarity, mentions)
    assert np.array_equal(order[moved][np.argsort(order)], leader), "sorted by frequency, the same words follow"
