"""Explaining sets: "not", "and" and "or" where they were planted, and gains whose intervals are those of the images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from falcon_dvc.evaluation.explaining_sets import explaining_sets
from falcon_dvc.evaluation.word_sets import (
    counted,
    divided,
    likely_words,
    permuted,
    r2,
    sums_over,
    with_coefficients,
    word_sets,
)

SEEDS = st.integers(0, 2**32 - 1)
IMAGES, WORDS, STEPS, CANDIDATES, LEAST = 900, 8, 4, 6, 0.08
OR, AND, NOT, ONLY_NOT, NOTHING = range(5)


def planted(seed, images=IMAGES):
    """Features of words 0 or 1, of 2 and 3, of 4 and not 5, of not 6, and of nothing; and the scores of words."""
    rng = np.random.default_rng(seed)
    scores = np.where(rng.random((images, WORDS)) < 0.5, rng.uniform(0.6, 1, (images, WORDS)), 0.0)
    has = scores > 0
    features = [
        has[:, 0] | has[:, 1],
        has[:, 2] & has[:, 3],
        1.0 * has[:, 4] - has[:, 5],
        ~has[:, 6],
        has[:, 0] & False,
    ]
    noisy = np.stack(features, axis=1) + 0.15 * rng.normal(size=(images, 5))
    division = divided(rng.permutation(images), np.arange(images) < 7 * images // 9)
    return noisy, sparse.csr_array(scores), division


def explained(features, scores, division, confidence=0.95):
    sets = word_sets(features, scores, division, STEPS, CANDIDATES, LEAST)
    return sets, explaining_sets(features, scores, division, sets, CANDIDATES, LEAST, confidence)


@settings(max_examples=5)
@given(SEEDS)
def test_or_and_not_are_found_where_they_were_planted(seed):
    sets, found = explained(*planted(seed))
    raising, lowering = (
        [set(words[direction == sign]) for words, direction in zip(found.words, found.direction, strict=True)]
        for sign in (1, -1)
    )
    assert raising == [{0, 1}, {2, 3}, {4}, set(), set()] and lowering == [set(), set(), {5}, {6}, set()]
    assert found.together.any(axis=(1, 2)).tolist() == [False, True, False, False, False]
    assert found.together[AND, 0, 1] and np.array_equal(found.together, found.together.transpose(0, 2, 1))
    assert np.allclose(found.r2[[OR, AND]], sets.r2[[OR, AND], 1]) and found.r2[NOT] > sets.r2[NOT, 0] + 0.2


@settings(max_examples=5)
@given(SEEDS)
def test_gains_are_steps_of_r2_on_the_judging_images(seed):
    features, scores, division = planted(seed)
    sets, found = explained(features, scores, division)
    candidates = likely_words(features[division.fit], scores[division.fit], WORDS)
    assert (candidates == np.arange(WORDS)).all()
    centred = features - features.mean(axis=0)
    fit, judge = (sums_over(centred[rows], scores[rows], candidates) for rows in (division.fit, division.judge))
    columns = np.where(found.words < 0, -1, found.words + 1)
    steps = np.diff(r2(fit, judge, columns), axis=1, prepend=0)
    assert np.allclose(found.gain, np.where(found.words < 0, np.nan, steps), equal_nan=True)
    with_constant, coefficients = with_coefficients(fit, columns)
    assert (with_constant[:, 0] == 0).all() and (np.sign(coefficients[:, 1:]) == found.direction).all()
    assert (counted(steps[:4], LEAST) == sets.count[:4] + (found.direction[:4] < 0).sum(axis=1)).all()


def test_intervals_of_gains_agree_with_a_bootstrap_of_the_judging_images():
    features, scores, division = planted(0, images=6000)
    _, found = explained(features, scores, division)
    words = np.tile(np.arange(WORDS), (5, 1))
    columns = np.where(found.words < 0, -1, found.words + 1)[:, :2]
    fit, rng, drawn = sums_over(features[division.fit], scores[division.fit], words), np.random.default_rng(1), []
    for _ in range(80):
        rows = rng.choice(division.judge, len(division.judge))
        drawn.append(np.diff(r2(fit, sums_over(features[rows], scores[rows], words), columns), axis=1, prepend=0))
    known = found.words[:, :2] >= 0
    for bound, quantile in ((found.low, 0.025), (found.high, 0.975)):
        assert np.allclose(bound[:, :2][known], np.quantile(drawn, quantile, axis=0)[known], atol=0.03)


def test_permuted_images_have_no_words_and_features_of_a_block_are_independent():
    features, scores, division = planted(0)
    shuffled = permuted(features, division, np.random.default_rng(0))
    _, found = explained(shuffled, scores, division)
    assert (found.words == -1).all() and (found.direction == 0).all() and not found.together.any()
    assert np.isnan(found.gain).all() and np.abs(found.r2).max() < 0.05
    _, alone = explained(features[:, [AND]], scores, division)
    _, both = explained(features, scores, division)
    assert np.array_equal(alone.words[0], both.words[AND]) and np.allclose(alone.r2[0], both.r2[AND])


@pytest.mark.parametrize("columns", [[], [4]], ids=["no feature", "a constant feature"])
def test_nothing_to_explain(columns):
    features, scores, division = planted(0)
    features[:, 4] = 7
    _, found = explained(features[:, columns], scores, division)
    assert found.words.shape == (len(columns), STEPS) and (found.words == -1).all() and not found.together.any()
    _, without = explained(features, scores[:, []], division)
    assert (without.words == -1).all()


def test_words_that_never_occur_together_are_or():
    features, scores, division = planted(0)
    dense = scores.toarray()
    dense[dense[:, 0] > 0, 1] = 0
    _, found = explained(features[:, [OR]], sparse.csr_array(dense), division)
    assert set(found.words[0, :2]) == {0, 1} and not found.together.any()
