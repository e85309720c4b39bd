"""Quantiles of activation: a label that is right wherever the feature fires is found so, and a wrong one is at chance."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.special import ndtri

from falcon_dvc.evaluation.quantiles import (
    DECILES,
    OFF,
    PARTS,
    counts_by_decile,
    deciles_of,
    holds_to,
    in_parts,
    interval_of_means,
    mean_of,
    spread_examples,
    sums_by_decile,
    words_of_parts,
)

SEEDS = st.integers(0, 2**32 - 1)


def activations(seed: int, images: int = 90, features: int = 4) -> np.ndarray:
    """Some zeros, some negative values, some equal values; the last feature never fires."""
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(size=(images, features)), 1) * (rng.random((images, features)) < 0.7)
    values[:, -1] = -np.abs(values[:, -1])
    return values


def means(decile: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Mean score of each part."""
    sums, counts = sums_by_decile(decile, sparse.csc_array(scores)), counts_by_decile(decile)
    return mean_of(in_parts(sums), in_parts(counts))


@settings(max_examples=30)
@given(SEEDS)
def test_deciles_divide_the_values_above_zero_by_size(seed):
    values = activations(seed)
    decile = deciles_of(values)
    assert ((decile == OFF) == (values <= 0)).all() and (decile[:, -1] == OFF).all()
    for column, own in zip(values.T, decile.T, strict=True):
        order = np.argsort(-column, kind="stable")
        assert (np.diff(own[order]) >= 0).all()
        fires = int((column > 0).sum())
        largest = np.sort(column)[::-1]
        assert fires == 0 or (own[column == largest[0]] == 0).all()
        assert all(len({int(one) for one in own[column == value]}) == 1 for value in np.unique(column[column > 0]))


@given(SEEDS)
def test_different_values_fill_all_deciles_alike(seed):
    fires = np.random.default_rng(seed).permutation(np.arange(1, 101)).astype(float)[:, None]
    assert (counts_by_decile(deciles_of(np.vstack([fires, np.zeros((7, 1))]))) == [[10] * DECILES + [7]]).all()


@given(SEEDS)
def test_the_order_of_the_images_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    values, scores = activations(seed), rng.random((90, 4)) * (rng.random((90, 4)) < 0.3)
    order = rng.permutation(90)
    found, permuted = means(deciles_of(values), scores), means(deciles_of(values[order]), scores[order])
    np.testing.assert_allclose(found, permuted)
    some, others = (
        np.where(rows.T >= 0, np.take_along_axis(one, rows.T, axis=0), np.nan)
        for one in (values, values[order])
        for rows in [spread_examples(one, deciles_of(one), "deciles_2_to_5", 3)]
    )
    np.testing.assert_array_equal(some, others)


@given(SEEDS)
def test_sums_are_those_of_the_images_of_each_decile(seed):
    rng = np.random.default_rng(seed)
    decile, scores = deciles_of(activations(seed)), rng.random((90, 4)) * (rng.random((90, 4)) < 0.3)
    expected = [[scores[decile[:, j] == d, j].sum() for d in range(OFF + 1)] for j in range(4)]
    np.testing.assert_allclose(sums_by_decile(decile, sparse.csc_array(scores)), expected)
    counts = counts_by_decile(decile)
    assert (counts.sum(axis=1) == 90).all() and (in_parts(counts).sum(axis=1) == 90).all()


@settings(max_examples=30)
@given(SEEDS)
def test_a_feature_that_is_its_attribute_has_precision_one_wherever_it_fires_and_none_elsewhere(seed):
    rng = np.random.default_rng(seed)
    has = rng.random((200, 3)) < [0.2, 0.4, 0.6]
    found = means(deciles_of(has * (0.1 + rng.random((200, 3)))), has.astype(float))
    assert (found[:, :3] == 1).all() and (found[:, 3] == 0).all()


@settings(max_examples=30)
@given(SEEDS)
def test_the_word_of_an_independent_feature_has_the_base_rate_in_all_parts(seed):
    rng = np.random.default_rng(seed)
    has = rng.random((4000, 2)) < 0.25
    decile = deciles_of(rng.random((4000, 2)) * (rng.random((4000, 2)) < 0.5))
    found, counts = means(decile, has.astype(float)), in_parts(counts_by_decile(decile))
    assert (np.abs(found - has.mean(axis=0)[:, None]) < 6 * np.sqrt(0.25 * 0.75 / counts)).all()


@given(st.integers(1, 200), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.95]))
def test_the_interval_is_wilsons(count, share, confidence):
    mean = np.array([share])
    low, high = interval_of_means(mean, np.array([count]), confidence)
    assert 0 <= low <= share <= high <= 1
    for end in (low, high):  # a share of the images that is this improbable if the end is the true one
        deviation = ndtri(0.5 + confidence / 2) * np.sqrt(end * (1 - end) / count)
        np.testing.assert_allclose(np.abs(end - mean), deviation, atol=1e-7)


def test_without_images_there_is_no_mean_and_no_interval():
    mean = mean_of(np.zeros(2), np.array([0, 4]))
    low, high = interval_of_means(mean, np.array([0, 4]), 0.95)
    assert np.isnan([mean[0], low[0], high[0]]).all() and low[1] == 0 < high[1] < 1


@given(st.lists(st.sampled_from(["holds", "fails", "empty"]), min_size=DECILES, max_size=DECILES))
def test_a_word_holds_to_the_first_decile_that_fails(kinds):
    low = np.array([[{"holds": 0.5, "fails": 0.1, "empty": np.nan}[kind] for kind in kinds]])
    before = kinds[: kinds.index("fails")] if "fails" in kinds else kinds
    held = [place for place, kind in enumerate(before) if kind == "holds"]
    everywhere = "fails" not in kinds and held
    expected = 0 if everywhere else 100 - 10 * (held[-1] + 1 if held else 0)
    assert holds_to(low, np.array([0.2]))[0] == expected


@given(SEEDS, st.sampled_from(list(PARTS)), st.integers(1, 5))
def test_examples_are_different_images_of_the_part_the_strongest_first(seed, part, count):
    values = activations(seed)
    decile = deciles_of(values)
    first, last = PARTS[part]
    for column, own, rows in zip(values.T, decile.T, spread_examples(values, decile, part, count), strict=True):
        found = rows[rows >= 0]
        assert len(found) == min(count, int(((own >= first) & (own < last)).sum())) == len(set(found.tolist()))
        assert ((own[found] >= first) & (own[found] < last)).all() and (np.diff(column[found]) <= 0).all()


@settings(max_examples=30)
@given(SEEDS)
def test_words_of_a_part_are_those_whose_means_stand_out_there(seed):
    rng = np.random.default_rng(seed)
    values, scores = rng.normal(size=(30, 4)), rng.random((30, 6)) * (rng.random((30, 6)) < 0.5)
    decile = deciles_of(values)
    found = words_of_parts(decile, sparse.csr_array(scores), 3)
    for part, (first, last) in PARTS.items():
        for feature in range(4):
            rows = (decile[:, feature] >= first) & (decile[:, feature] < last)
            above = scores[rows].mean(axis=0) - scores.mean(axis=0) if rows.any() else np.zeros(6)
            expected = [word for word in np.argsort(-np.round(above, 12), kind="stable")[:3] if above[word] > 1e-11]
            assert [word for word in found[part][feature] if word >= 0] == expected
