"""Selectivity of a group against its best member: planted conjunctions, the bootstrap against a plain loop, chance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.evaluation.conjunction import conjunction, gain_over_best_member, random_partners
from falcon_dvc.evaluation.statistics import bootstrap_weights

SEEDS = st.integers(0, 2**32 - 1)


def weights(images: int, samples: int = 200, seed: int = 0) -> np.ndarray:
    return bootstrap_weights(images, samples, np.random.default_rng(seed))


def some_sets(rng: np.random.Generator, count: int, size: int, features: int = 6) -> np.ndarray:
    return rng.permuted(np.tile(np.arange(features), (count, 1)), axis=1)[:, :size]


def two_attributes(images: int = 1500, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two attributes, features that follow one each with noise, and one that follows neither."""
    rng = np.random.default_rng(0)
    first, second = rng.random((2, images)) < 0.3
    features = np.stack([first, second, first, np.zeros(images)], axis=1) + noise * rng.random((images, 4))
    return first, second, features


@given(SEEDS)
def test_the_conjunction_reaches_one_just_where_all_members_fire(seed):
    rng = np.random.default_rng(seed)
    activations, thresholds = rng.random((50, 6)), rng.uniform(0.1, 0.9, 6)
    sets = np.array([rng.choice(6, 3, replace=False) for _ in range(4)])
    group = conjunction(activations, sets, thresholds)
    for row, members in enumerate(sets):
        assert np.array_equal(group[:, row] >= 1, (activations[:, members] / thresholds[members] >= 1).all(axis=1))


def test_a_feature_that_never_fires_has_no_conjunction_and_a_threshold_must_be_positive():
    assert (conjunction(np.ones((3, 2)), np.array([[0, 1]]), np.array([1.0, np.inf])) == 0).all()
    with pytest.raises(ValueError, match="positive"):
        conjunction(np.ones((3, 2)), np.array([[0, 1]]), np.array([1.0, -0.5]))


def test_the_scale_of_a_feature_does_not_matter():
    first, second, features = two_attributes()
    label, scale = (first & second)[:, None], np.array([1, 50, 0.01, 1])
    plain = gain_over_best_member(features, np.array([[0, 1]]), np.full(4, 0.5), label, weights(1500), 0.95)
    scaled = gain_over_best_member(features * scale, np.array([[0, 1]]), 0.5 * scale, label, weights(1500), 0.95)
    assert np.allclose(plain.group, scaled.group) and np.allclose(plain.low, scaled.low)


def test_a_planted_conjunction_beats_its_members_and_no_other_group_does():
    first, second, features = two_attributes()
    sets = np.array([[0, 1], [0, 3], [1, 0]])
    labels = np.column_stack([first & second, first, first])
    gain = gain_over_best_member(features, sets, np.full(4, 0.5), labels, weights(1500), 0.95)
    assert gain.low[0] > 0.1
    assert (gain.high[1:] < 0).all()
    assert gain.best.tolist()[1:] == [0, 1]


def test_two_noisy_features_of_one_attribute_beat_either():
    rng = np.random.default_rng(1)
    truth = rng.random(3000) < 0.3
    features = truth[:, None] + rng.normal(1, 0.7, (3000, 2)).clip(0)
    gain = gain_over_best_member(features, np.array([[0, 1]]), np.ones(2), truth[:, None], weights(3000), 0.95)
    assert gain.low[0] > 0


@given(SEEDS)
def test_it_is_the_pearson_correlation_and_the_bootstrap_of_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    features, labels = rng.random((40, 5)), rng.random((40, 2)) < 0.4
    labels[:2] = [[True, False], [False, True]]
    sets, thresholds = np.array([[0, 1, 2], [4, 3, 1]]), rng.uniform(0.2, 0.8, 5)
    counts = rng.multinomial(40, np.full(40, 1 / 40), 30)
    gain = gain_over_best_member(features, sets, thresholds, labels, counts / 40, 0.9)
    for row, members in enumerate(sets):
        group = (features[:, members] / thresholds[members]).min(axis=1)
        columns = np.column_stack([group, features[:, members]])

        def difference(rows, columns=columns, label=labels[:, row]):
            if label[rows].min() == label[rows].max():
                return 0.0, 0.0
            found = [np.corrcoef(column[rows], label[rows])[0, 1] for column in columns.T]
            return found[0], max(found[1:])

        own = difference(np.arange(40))
        assert (gain.group[row], gain.member[row]) == pytest.approx(own)
        drawn = [np.subtract(*difference(np.repeat(np.arange(40), count))) for count in counts]
        assert (gain.low[row], gain.high[row]) == pytest.approx(tuple(np.quantile(drawn, [0.05, 0.95])))


def test_labels_and_features_that_do_not_vary_have_no_selectivity():
    features = np.column_stack([np.full(30, 0.7), np.arange(30) / 30])
    labels = np.column_stack([np.zeros(30, dtype=bool), np.ones(30, dtype=bool), np.arange(30) > 20])
    gain = gain_over_best_member(features, np.array([[0, 0], [0, 1], [0, 0]]), np.ones(2), labels, weights(30), 0.95)
    for values in (gain.group, gain.member, gain.low, gain.high):
        assert (values == 0).all()


def test_groups_of_nothing_beat_their_best_member_no_more_often_than_the_confidence_allows():
    beaten = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        features, labels = rng.random((300, 20)), rng.random((300, 10)) < 0.2
        sets = np.arange(20).reshape(10, 2)
        gain = gain_over_best_member(features, sets, np.full(20, 0.5), labels, weights(300, seed=seed), 0.95)
        beaten += (gain.low > 0).tolist()
    assert np.mean(beaten) <= 0.025 + 2 * np.sqrt(0.025 / 200)


def test_a_member_alone_never_beats_itself():
    _, _, features = two_attributes()
    label = features[:, :1] > 0.5
    gain = gain_over_best_member(features, np.array([[0, 0]]), np.full(4, 0.5), label, weights(1500), 0.95)
    assert abs(gain.low[0]) < 1e-9 and abs(gain.high[0]) < 1e-9


def test_bootstrap_weights_are_samples_with_replacement():
    drawn = weights(50, 3000)
    assert np.allclose(drawn.sum(axis=1), 1)
    assert np.allclose(drawn * 50, np.rint(drawn * 50))
    assert (drawn * 50).var(axis=0).mean() == pytest.approx(1 - 1 / 50, rel=0.05)
    assert np.array_equal(weights(50, 20), weights(50, 20))


@given(SEEDS, st.integers(2, 4))
def test_random_partners_keep_the_best_member_and_are_no_members(seed, size):
    rng = np.random.default_rng(seed)
    sets = np.array([rng.choice(12, size, replace=False) for _ in range(30)])
    best, allowed = rng.integers(0, size, 30), np.arange(12) != 3
    random = random_partners(sets, best, allowed, rng)
    for row, members in enumerate(random):
        assert members[0] == sets[row, best[row]]
        assert len(set(members)) == size
        assert not set(members[1:]) & set(sets[row]) and 3 not in members[1:]
    assert len(np.unique(random[:, 1:])) > 5


def test_too_few_features_for_partners_are_an_error():
    with pytest.raises(ValueError, match="fewer than 2"):
        random_partners(np.array([[0, 1, 2]]), np.array([0]), np.ones(4, dtype=bool), np.random.default_rng(0))


@given(SEEDS, st.integers(1, 3), st.integers(0, 4), st.sampled_from([0.0, -1.0, np.inf, np.nan]))
@pytest.mark.filterwarnings("error")
def test_a_feature_of_no_group_decides_nothing_whatever_its_threshold(seed, size, count, threshold):
    """A feature that never fires has a threshold of 0 where most images do not activate it."""
    rng = np.random.default_rng(seed)
    activations, thresholds, sets = rng.random((9, 6)), rng.uniform(0.1, 0.9, 6), some_sets(rng, count, size, 5)
    found = conjunction(activations, sets, thresholds)
    activations[:, 5], thresholds[5] = 1.0, threshold
    assert np.array_equal(conjunction(activations, sets, thresholds), found)


@given(SEEDS, st.sampled_from([2.0**-60, 0.5, 2.0**60]), st.sampled_from([np.float16, np.float32, np.float64]))
def test_a_group_is_its_weakest_member_in_any_unit_and_more_members_make_it_weaker(seed, unit, width):
    rng = np.random.default_rng(seed)
    activations, thresholds, sets = (
        rng.integers(0, 4, (9, 6)).astype(width),
        rng.integers(1, 4, 6),
        some_sets(rng, 4, 3),
    )
    found = conjunction(activations, sets, thresholds)
    alone = [conjunction(activations, sets[:, [place]], thresholds) for place in range(3)]
    assert np.array_equal(found, np.min(alone, axis=0))
    assert np.array_equal(conjunction(activations, sets[:, ::-1], thresholds), found)
    scales = np.where(rng.random(6) < 0.5, unit, 1.0)
    assert np.array_equal(conjunction(activations * scales, sets, thresholds * scales), found)
    assert (found <= conjunction(activations, sets[:, :2], thresholds)).all()


@given(SEEDS, st.sampled_from([2.0**-60, 2.0**60]))
def test_neither_the_unit_nor_the_order_of_images_nor_what_lies_beside_a_group_matters_to_its_gain(seed, unit):
    rng = np.random.default_rng(seed)
    activations, labels, sets = rng.random((25, 6)), rng.random((25, 3)) < 0.4, some_sets(rng, 3, 2)
    drawn, order = bootstrap_weights(25, 20, rng), rng.permutation(25)
    plain = gain_over_best_member(activations, sets, np.full(6, 0.5), labels, drawn, 0.9)
    others = (
        gain_over_best_member(unit * activations, sets, np.full(6, unit / 2), labels, drawn, 0.9),
        gain_over_best_member(activations[order], sets, np.full(6, 0.5), labels[order], drawn[:, order], 0.9),
    )
    alone = gain_over_best_member(activations, sets[1:2], np.full(6, 0.5), labels[:, 1:2], drawn, 0.9)
    for name in ("group", "member", "low", "high"):
        values = getattr(plain, name)
        assert all(np.allclose(getattr(other, name), values) for other in others)
        assert np.allclose(getattr(alone, name), values[1])
    assert all(np.array_equal(other.best, plain.best) for other in others) and alone.best == plain.best[1]
    assert (np.abs([plain.group, plain.member]) <= 1 + 1e-9).all() and (plain.low <= plain.high).all()


@given(st.integers(1, 40), st.integers(0, 30), SEEDS)
def test_a_sample_holds_whole_images_as_many_as_there_are(images, samples, seed):
    drawn = bootstrap_weights(images, samples, np.random.default_rng(seed))
    counts = np.rint(drawn * images)
    assert drawn.shape == (samples, images) and (counts >= 0).all()
    assert np.array_equal(counts / images, drawn) and (counts.sum(axis=1) == images).all()
    assert np.array_equal(bootstrap_weights(images, samples, np.random.default_rng(seed)), drawn)
    assert images == 1 or samples < 9 or len(np.unique(drawn, axis=0)) > 1
