"""Word sets: a feature is given as many words as it follows, by gains on images that did not choose them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from falcon_dvc.evaluation.word_sets import Division, Sums, divided, forward, permuted, r2, word_sets

SEEDS = st.integers(0, 2**32 - 1)
IMAGES, WORDS = 600, 8
SETTINGS = {"steps": 4, "candidates": 6, "least_gain": 0.08}


def planted(seed):
    """Features that follow words 2 and 5, word 3, words 1, 4 and 6, and nothing; and the scores of words."""
    rng = np.random.default_rng(seed)
    scores = np.where(rng.random((IMAGES, WORDS)) < 0.3, rng.uniform(0.4, 1, (IMAGES, WORDS)), 0.0)
    features = [scores[:, 2] + 0.8 * scores[:, 5], scores[:, 3], scores[:, [1, 4, 6]].sum(axis=1), np.zeros(IMAGES)]
    noisy = np.stack(features, axis=1) + 0.15 * rng.normal(size=(IMAGES, 4))
    return noisy, sparse.csr_array(scores)


def split(seed=0):
    return divided(np.random.default_rng(seed).permutation(IMAGES), np.arange(IMAGES) < 400)


@settings(max_examples=5)
@given(SEEDS)
def test_a_feature_follows_as_many_words_as_were_planted(seed):
    found = word_sets(*planted(seed), split(), **SETTINGS)
    assert found.count.tolist() == [2, 1, 3, 0]
    assert [set(row[:count].tolist()) for row, count in zip(found.words, found.count, strict=True)] == [
        {2, 5},
        {3},
        {1, 4, 6},
        set(),
    ]
    assert (found.r2[:3, 2] > 0.5).all() and found.r2[0, 1] > found.r2[0, 0] + 0.1


@settings(max_examples=5)
@given(SEEDS)
def test_permuted_images_follow_nothing_and_have_an_r2_of_about_0(seed):
    features, scores = planted(seed)
    rng = np.random.default_rng(seed + 1)
    found = word_sets(permuted(features, split(), rng), scores, split(), **SETTINGS)
    assert (np.abs(found.r2) < 0.15).all() and abs(found.r2.mean()) < 0.06
    assert (found.count == 0).all()


@settings(max_examples=5)
@given(SEEDS)
def test_order_of_images_and_features_changes_nothing(seed):
    features, scores = planted(seed)
    rng = np.random.default_rng(seed)
    names, probe = rng.permutation(IMAGES), rng.random(IMAGES) < 0.6
    image, feature = rng.permutation(IMAGES), rng.permutation(4)
    found = word_sets(features, scores, divided(names, probe), **SETTINGS)
    other = word_sets(features[image][:, feature], scores[image], divided(names[image], probe[image]), **SETTINGS)
    assert np.array_equal(found.words[feature], other.words) and np.array_equal(found.count[feature], other.count)
    assert np.allclose(found.r2[feature], other.r2)


@settings(max_examples=5)
@given(SEEDS)
def test_a_gain_on_the_images_that_choose_a_word_is_not_enough(seed):
    """Of many words on few images, some fit noise well."""
    rng = np.random.default_rng(seed)
    noise, scores = rng.normal(size=(60, 20)), sparse.csr_array(rng.random((60, 300)))
    division = divided(rng.permutation(60), np.ones(60, dtype=bool))
    deceived = word_sets(noise, scores, Division(division.fit, division.fit, division.judge), 3, 50, 0.08)
    judged = word_sets(noise, scores, division, 3, 50, 0.08)
    assert deceived.count.mean() > 2 and judged.count.mean() < 0.7


def direct(table, values, rows, held):
    """R² by least squares on the columns themselves."""
    coefficients = np.linalg.lstsq(table[rows], values[rows], rcond=None)[0]
    error = np.square(values[held] - table[held] @ coefficients).sum()
    return 1 - error / np.square(values[held] - values[held].mean()).sum()


def sums(table, values, rows):
    table, values = table[rows], values[rows]
    return Sums((table.T @ table)[None], (values @ table)[None], np.array([values @ values]))


@settings(max_examples=10)
@given(SEEDS)
def test_steps_and_r2_agree_with_least_squares_on_the_images(seed):
    features, scores = planted(seed)
    table, values = np.column_stack([np.ones(IMAGES), scores.toarray()]), features[:, 2]
    fit, held = np.arange(300), np.arange(300, IMAGES)
    columns = forward(sums(table, values, fit), 3)
    chosen = [0]
    for column in columns[0]:
        gains = {other: direct(table[:, [*chosen, other]], values, fit, fit) for other in range(1, WORDS + 1)}
        assert column == max(gains, key=gains.get)
        chosen.append(int(column))
    expected = [direct(table[:, chosen[: step + 1]], values, fit, held) for step in (1, 2, 3)]
    assert np.allclose(r2(sums(table, values, fit), sums(table, values, held), columns), expected)


def test_a_word_that_opposes_a_feature_or_repeats_another_word_is_not_chosen():
    features, scores = planted(0)
    doubled = sparse.csr_array(np.column_stack([scores[:, [3]].toarray(), scores[:, [3]].toarray(), -features[:, 1]]))
    found = word_sets(features[:, [1]], doubled, split(), **SETTINGS)
    assert found.words.tolist() == [[0, -1, -1, -1]] and found.count.tolist() == [1]


@pytest.mark.parametrize("columns", [[], [3]], ids=["no feature", "a constant feature"])
def test_nothing_to_follow(columns):
    features, scores = planted(0)
    features[:, 3] = 7
    found = word_sets(features[:, columns], scores, split(), **SETTINGS)
    assert found.words.shape == (len(columns), 4) and (found.words == -1).all()
    assert (found.count == 0).all() and np.allclose(found.r2, 0)


def test_without_words_nothing_is_followed():
    features, scores = planted(0)
    assert (word_sets(features, scores[:, []], split(), **SETTINGS).words == -1).all()


def test_without_held_out_images_words_are_chosen_but_not_measured():
    features, scores = planted(0)
    found = word_sets(features, scores, divided(np.arange(IMAGES), np.ones(IMAGES, dtype=bool)), **SETTINGS)
    assert found.count.tolist() == [2, 1, 3, 0] and np.isnan(found.r2).all()


def test_the_halves_are_disjoint_and_equal():
    division = split()
    assert isinstance(division, Division) and len(division.fit) == len(division.judge) == 200
    assert sorted([*division.fit, *division.judge, *division.heldout]) == list(range(IMAGES))
