"""Selectivity by definition, and the sanity checks of the measures themselves (missing and extra labels)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.method.selectivity import auc, average_precision, mean_activation_difference, pearson


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
