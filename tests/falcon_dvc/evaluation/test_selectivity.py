"""Selectivity by definition, and the sanity checks of the measures themselves (missing and extra labels)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.evaluation.selectivity import (
    TIE,
    auc,
    average_precision,
    mean_activation_difference,
    pearson,
    right_or_tied,
)


def drawn(seed, images=60, features=3, concepts=4, levels=None):
    rng = np.random.default_rng(seed)
    activations = rng.normal(size=(images, features))
    if levels:
        activations = np.round(activations * levels) / levels
    return activations, rng.random((images, concepts)) < 0.3


@given(st.integers(0, 10_000))
def test_auc_counts_pairs(seed):
    activations, labels = drawn(seed, levels=2)
    found = auc(activations, labels)
    for feature in range(3):
        for concept in range(4):
            on, off = (activations[labels[:, concept] == value, feature] for value in (True, False))
            wins = (on[:, None] > off).mean() + 0.5 * (on[:, None] == off).mean() if len(on) and len(off) else 0.5
            assert found[feature, concept] == pytest.approx(wins)


@given(st.integers(0, 10_000))
def test_average_precision_is_the_sum_over_thresholds(seed):
    activations, labels = drawn(seed, features=4, levels=2)
    found = average_precision(activations, labels)
    for column in range(4):
        score, mark = activations[:, column], labels[:, column]
        total = recall = 0.0
        for threshold in np.unique(score)[::-1]:
            above = score >= threshold
            now = (mark & above).sum() / max(mark.sum(), 1)
            total += (now - recall) * mark[above].mean()
            recall = now
        assert found[column] == pytest.approx(total)


@given(st.integers(0, 10_000))
def test_mad_by_definition(seed):
    activations, labels = drawn(seed)
    found = mean_activation_difference(activations + 1e3, labels)
    for feature in range(3):
        for concept in range(4):
            on, off = (activations[labels[:, concept] == value, feature] for value in (True, False))
            if len(on) and len(off):
                assert found[feature, concept] == pytest.approx((on.mean() - off.mean()) / off.std(), rel=1e-4)


@given(st.integers(0, 10_000))
def test_order_of_images_decides_nothing(seed):
    activations, labels = drawn(seed, features=4, levels=1)
    order = np.random.default_rng(seed).permutation(len(labels))
    for measure in (auc, average_precision, mean_activation_difference, pearson):
        np.testing.assert_allclose(measure(activations[order], labels[order]), measure(activations, labels), atol=1e-12)


@pytest.mark.parametrize("measure", [auc, mean_activation_difference, pearson])
@pytest.mark.parametrize("value", [True, False])
def test_label_of_all_or_no_images_says_nothing(measure, value):
    activations, _ = drawn(0)
    chance = 0.5 if measure is auc else 0.0
    assert np.all(measure(activations, np.full((60, 2), value)) == chance)


def test_constant_feature_is_not_selective():
    labels = drawn(1)[1]
    constant = np.ones((60, 4))
    assert np.all(auc(constant, labels) == 0.5)
    assert np.all(mean_activation_difference(constant, labels) == 0)
    np.testing.assert_allclose(average_precision(constant, labels), labels.mean(axis=0))


def test_no_label_has_no_precision():
    assert average_precision(np.arange(5.0)[:, None], np.zeros((5, 1), dtype=bool)) == 0


class TestSanity:
    """NeuronEval: a good label must beat the same label with half of its positives missing, and with as many false ones added."""

    def changed(self, seed=0, images=4000):
        rng = np.random.default_rng(seed)
        truth = rng.random(images) < 0.1
        activation = truth * rng.gamma(2.0, 1.0, images) + rng.gamma(1.0, 0.3, images)
        missing, extra = truth.copy(), truth.copy()
        missing[rng.choice(np.flatnonzero(truth), truth.sum() // 2, replace=False)] = False
        extra[rng.choice(np.flatnonzero(~truth), truth.sum(), replace=False)] = True
        return activation[:, None], truth[:, None], missing[:, None], extra[:, None]

    @pytest.mark.parametrize("measure", [pearson, average_precision])
    @pytest.mark.parametrize("wrong", [2, 3])
    def test_correlation_and_auprc_pass(self, measure, wrong):
        activation, truth, *others = self.changed()
        assert float(measure(activation, others[wrong - 2]).squeeze()) < 0.85 * float(
            measure(activation, truth).squeeze()
        )

    def test_auc_hardly_sees_missing_labels(self):
        activation, truth, missing, _ = self.changed()
        assert auc(activation, missing) > 0.93 * auc(activation, truth)

    def test_auc_sees_extra_labels(self):
        activation, truth, _, extra = self.changed()
        assert auc(activation, extra) < 0.9 * auc(activation, truth)

    def test_mad_hardly_sees_missing_labels_of_a_rare_concept(self):
        rng = np.random.default_rng(0)
        truth = rng.random(40_000) < 0.01
        activation = (truth + rng.normal(size=40_000))[:, None]
        missing = truth.copy()
        missing[rng.choice(np.flatnonzero(truth), truth.sum() // 2, replace=False)] = False
        assert mean_activation_difference(activation, missing[:, None]) > 0.8 * mean_activation_difference(
            activation, truth[:, None]
        )


TIED = st.integers(0, 10_000)


@given(TIED, st.sampled_from([2.0**-70, 1.0, 2.0**70]), st.sampled_from([0.0, -5.0]), st.booleans())
def test_the_unit_and_the_level_of_a_feature_decide_nothing(seed, unit, level, narrow):
    """Any unit: a feature of 1e-21 is no constant. With a level the numbers keep fewer digits, as all do in single precision."""
    activations, labels = drawn(seed, features=4, levels=2)
    moved = (activations + level) * unit
    for measure in (auc, average_precision, mean_activation_difference, pearson):
        found = measure(moved.astype(np.float32 if narrow else np.float64), labels)
        assert np.allclose(found, measure(activations, labels), atol=1e-9), measure.__name__


@given(TIED)
def test_a_feature_turned_around_is_as_selective_against_its_concept(seed):
    activations, labels = drawn(seed, levels=2)
    assert np.allclose(auc(-activations, labels), 1 - auc(activations, labels))
    assert np.allclose(auc(activations, ~labels), 1 - auc(activations, labels))
    assert np.allclose(pearson(-activations, labels), -pearson(activations, labels))
    assert np.allclose(pearson(activations, ~labels), -pearson(activations, labels))
    both = mean_activation_difference(np.hstack([activations, -activations]), labels)
    assert np.allclose(both[:3], -both[3:])
    assert (np.abs(pearson(activations, labels)) <= 1 + 1e-9).all()


@given(TIED, st.integers(2, 60))
def test_ranks_alone_decide_auc_and_precision_and_a_perfect_detector_has_all_of_both(seed, images):
    activations, labels = drawn(seed, images=images, features=4, levels=2)
    ranks = np.sign(activations) * activations**2
    assert np.array_equal(auc(ranks, labels), auc(activations, labels))
    assert np.array_equal(average_precision(ranks, labels), average_precision(activations, labels))
    perfect = np.where(labels, 1 + np.abs(activations), -np.abs(activations))
    some, all_or_none = labels.any(axis=0), labels.all(axis=0) | ~labels.any(axis=0)
    assert np.allclose(average_precision(perfect, labels), some)
    assert np.allclose(np.diagonal(auc(perfect, labels)), np.where(all_or_none, 0.5, 1))
    bounded = average_precision(activations, labels)
    assert ((bounded >= 0) & (bounded <= 1 + 1e-12)).all()


@given(TIED, st.integers(2, 400), st.sampled_from([0.0, 0.1, 3.0]))
def test_a_feature_that_is_constant_without_the_concept_has_no_unit_for_a_difference(seed, images, level):
    """As a perfect detector behind a ReLU is: the last bits of the sums must not become the unit."""
    rng = np.random.default_rng(seed)
    labels = rng.random((images, 1)) < 0.3
    activations = np.where(labels, level + rng.gamma(2, 1, (images, 1)), level)
    assert mean_activation_difference(activations, labels) == 0


@given(st.integers(0, 10_000))
def test_a_word_is_as_good_as_the_truth_if_it_is_right_or_follows_the_feature_as_well(seed):
    rng = np.random.default_rng(seed)
    right, truth = rng.random(20) < 0.5, rng.uniform(0.3, 1, 20)
    assert right_or_tied(right, truth, truth - 0.9 * TIE).all()
    assert np.array_equal(right_or_tied(right, truth, truth - 1.1 * TIE), right)
    assert np.array_equal(right_or_tied(right, truth, np.full(20, np.nan)), right), (
        "a word that names nothing never ties"
    )
