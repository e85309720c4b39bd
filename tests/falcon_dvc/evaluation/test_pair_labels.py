"""Labels of pairs: planted conjunctions are found, chance is not, and the judging half has no part in the choice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from falcon_dvc.evaluation.conjunction import conjunction, gain_of_scores, gain_over_best_member
from falcon_dvc.evaluation.pair_labels import (
    Half,
    best_words,
    chosen_labels,
    correlation_of_members,
    gain_of_labels,
    halves,
    joint_scores,
    judged,
)
from falcon_dvc.evaluation.statistics import bootstrap_weights

SEEDS = st.integers(0, 2**32 - 1)
IMAGES, WORDS = 600, 5
PAIRS = np.array([[0, 1], [2, 3], [0, 4]])
CHOOSING, JUDGING = np.arange(0, IMAGES, 2), np.arange(1, IMAGES, 2)
MEMBERS = 2.0  # weight of the members
FEW = settings(max_examples=15)


def planted(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Activations of features 0 to 4, which follow things 0 to 3 and 0; scores of words 0 to 4 (no feature follows thing 4)."""
    rng = np.random.default_rng(seed)
    shown = rng.random((IMAGES, WORDS)) < 0.3
    scores = np.where(shown, rng.uniform(0.4, 1, shown.shape), 0.05 * rng.random(shown.shape))
    activations = shown[:, [0, 1, 2, 3, 0]] * rng.uniform(0.5, 1, (IMAGES, 5)) + 0.1 * rng.random((IMAGES, 5))
    return activations, scores


def halved(activations: np.ndarray, scores: np.ndarray, pairs: np.ndarray = PAIRS) -> tuple[Half, Half]:
    return halves(activations, pairs, sparse.csr_array(scores), CHOOSING, JUDGING)


def weights(samples: int = 60) -> np.ndarray:
    return bootstrap_weights(len(JUDGING), samples, np.random.default_rng(0))


@FEW
@given(SEEDS)
def test_planted_conjunctions_are_named_and_beat_their_members_and_redundant_features_have_one_word(seed):
    found = judged(*halved(*planted(seed)), 4, MEMBERS, weights(), 0.95)
    assert [set(label) for label in found.labels[:2].tolist()] == [{0, 1}, {2, 3}]
    assert (found.gain.low[:2] > 0).all()
    assert found.labels[2].tolist() == [0, 0] and found.gain.group[2] - found.gain.member[2] < 0.1


@FEW
@given(SEEDS)
def test_permuted_images_give_chance(seed):
    activations, scores = planted(seed)
    permuted = np.random.default_rng(seed + 1).permutation(scores)
    found = judged(*halved(activations, permuted), 4, MEMBERS, weights(2), 0.95)
    assert np.abs(found.gain.group).max() < 0.3
    assert abs(found.gain.group.mean()) < 0.2


@FEW
@given(SEEDS)
def test_labels_never_see_the_judging_half(seed):
    activations, scores = planted(seed)
    before = halved(activations, scores)[0]
    rng = np.random.default_rng(seed)
    activations[JUDGING], scores[JUDGING] = rng.random((len(JUDGING), 5)), rng.random((len(JUDGING), WORDS))
    after = halved(activations, scores)[0]
    assert np.array_equal(chosen_labels(before, 4, MEMBERS), chosen_labels(after, 4, MEMBERS))
    assert np.array_equal(best_words(before), best_words(after))


@FEW
@given(SEEDS)
def test_the_order_of_features_does_not_matter(seed):
    data = planted(seed)
    found, swapped = (judged(*halved(*data, pairs), 4, MEMBERS, weights(5), 0.95) for pairs in (PAIRS, PAIRS[:, ::-1]))
    assert np.array_equal(found.labels, swapped.labels)
    assert np.allclose(found.gain.low, swapped.gain.low) and np.allclose(found.own_word_gain, swapped.own_word_gain)
    assert np.array_equal(found.gain.best, 1 - swapped.gain.best)
    given_labels = gain_of_labels(halved(*data)[1], found.labels, weights(5), 0.95)
    assert np.array_equal(given_labels.group, found.gain.group) and np.array_equal(given_labels.low, found.gain.low)


@FEW
@given(SEEDS)
def test_scale_and_level_of_a_feature_do_not_matter_and_both_members_must_exceed_their_means(seed):
    activations, scores = planted(seed)
    half = halved(activations, scores)[0]
    scaled = halved(activations * [1, 50, 0.01, 3, 2] - 5, scores)[0]
    assert np.allclose(half.joint, scaled.joint)
    above = (half.members > half.members.mean(axis=0)).all(axis=2)
    assert np.array_equal(half.joint > 0, above)


def test_a_constant_feature_has_no_joint_activation():
    activations, scores = planted(0)
    activations[:, 1] = 0.7
    half = halved(activations, scores)[0]
    assert not half.joint[:, 0].any() and half.joint[:, 1].any()


@given(SEEDS)
def test_the_score_of_a_label_is_a_geometric_mean_and_that_of_one_word_its_own(seed):
    scores = np.random.default_rng(seed).random((7, 3))
    found = joint_scores(sparse.csc_array(scores), np.array([[0, 2], [1, 1]]))
    assert np.allclose(found, np.column_stack([np.sqrt(scores[:, 0] * scores[:, 2]), scores[:, 1]]))


@FEW
@given(SEEDS)
def test_the_best_words_of_members_are_those_they_follow(seed):
    assert best_words(halved(*planted(seed))[0]).tolist() == [[0, 1], [2, 3], [0, 0]]


@pytest.mark.parametrize("candidates", [1, 3, 99])
def test_a_label_has_at_most_two_of_the_candidates(candidates):
    labels = chosen_labels(halved(*planted(0))[0], candidates, MEMBERS)
    assert labels.shape == (3, 2) and ((labels[:, 0] == labels[:, 1]) | (candidates > 1)).all()


@given(SEEDS)
def test_each_member_has_a_word_of_its_own_whichever_stands_first(seed):
    first, second = np.random.default_rng(seed).uniform(-1, 1, (2, WORDS))
    labels = np.array([[0, 1], [1, 0], [2, 2]])
    found = correlation_of_members(first, second, labels)
    by_hand = max(min(first[0], second[1]), min(first[1], second[0]))
    assert found.tolist() == [by_hand, by_hand, min(first[2], second[2])]
    assert np.array_equal(found, correlation_of_members(second, first, labels))


def test_members_decide_where_a_few_images_of_the_pair_would_name_another_thing():
    activations, scores = planted(0)
    joint = np.flatnonzero((activations[:, :2] > 0.4).all(axis=1) & (np.arange(IMAGES) % 2 == 0))
    scores[:, 4] = 0.05
    scores[joint, 4] = 1  # by chance, thing 4 is on the images of the pair and on no other
    half = halved(activations, scores)[0]
    assert chosen_labels(half, 5, 0.0)[0].tolist() == [4, 4]
    assert set(chosen_labels(half, 5, MEMBERS)[0].tolist()) == {0, 1}


def test_without_pairs_there_is_nothing_to_judge():
    found = judged(*halved(*planted(0), PAIRS[:0]), 4, MEMBERS, weights(5), 0.95)
    assert found.labels.shape == (0, 2) and found.gain.group.shape == found.own_word_gain.shape == (0,)


@FEW
@given(SEEDS)
def test_the_gain_of_scores_is_that_of_groups_where_the_joint_activation_is_their_conjunction(seed):
    activations, scores = planted(seed)
    sets, thresholds, labels = PAIRS, np.full(5, 0.3), scores[:, [0, 1, 2]] > 0.3
    drawn = bootstrap_weights(IMAGES, 5, np.random.default_rng(seed))
    expected = gain_over_best_member(activations, sets, thresholds, labels, drawn, 0.9)
    joint = conjunction(activations, sets, thresholds)
    found = gain_of_scores(joint, activations[:, sets], labels.astype(float), drawn, 0.9)
    assert np.allclose(found.group, expected.group) and np.allclose(found.high, expected.high)
    assert np.allclose(found.group, [np.corrcoef(joint[:, row], labels[:, row])[0, 1] for row in range(3)])
