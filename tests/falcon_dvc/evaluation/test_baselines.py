"""soft-WPMI by its published formula, and what it must not depend on."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.evaluation import baselines
from falcon_dvc.evaluation.baselines import soft_wpmi


def unit(rng, count, dim=6):
    rows = rng.normal(size=(count, dim))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def by_hand(crops, group, rank, groups, concepts, top):
    """The formula, written out."""
    logits = 10 * crops @ concepts.T
    given_ = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    total = np.zeros((groups, len(concepts)))
    for crop in range(len(crops)):
        if rank[crop] < top:
            weight = 0.998 + (0.97 - 0.998) * rank[crop] / top
            total[group[crop]] += np.log(1 + weight * (given_[crop] - 1) + 1e-7)
    return total - np.log(np.exp(total).mean(axis=0))


@given(st.integers(0, 10_000))
def test_formula(seed):
    rng = np.random.default_rng(seed)
    group, rank = np.repeat(np.arange(3), 5), np.tile(np.arange(5), 3)
    crops, concepts = unit(rng, 15), unit(rng, 4)
    order = rng.permutation(15)
    found = soft_wpmi(crops[order], group[order], rank[order], 3, concepts, top=4)
    np.testing.assert_allclose(found, by_hand(crops, group, rank, 3, concepts, 4), atol=1e-4)


def test_it_does_not_depend_on_how_many_crops_are_compared_together(monkeypatch):
    rng = np.random.default_rng(0)
    group, rank = np.repeat(np.arange(3), 5), np.tile(np.arange(5), 3)
    crops, concepts = unit(rng, 15), unit(rng, 4)
    together = soft_wpmi(crops, group, rank, 3, concepts, top=4)
    for pairs in (1, 12):
        monkeypatch.setattr(baselines, "PAIRS_AT_ONCE", pairs)
        np.testing.assert_allclose(soft_wpmi(crops, group, rank, 3, concepts, top=4), together, atol=1e-5)


def test_names_the_concept_that_the_crops_show():
    rng = np.random.default_rng(0)
    concepts = np.eye(6)[:4]
    group = np.repeat(np.arange(4), 8)
    crops = concepts[group] + 0.2 * rng.normal(size=(32, 6))
    crops /= np.linalg.norm(crops, axis=1, keepdims=True)
    found = soft_wpmi(crops, group, np.tile(np.arange(8), 4), 4, concepts)
    assert found.argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_a_group_without_crops_is_finite():
    crops = unit(np.random.default_rng(0), 3)
    found = soft_wpmi(crops, np.zeros(3, dtype=int), np.arange(3), 2, crops)
    assert np.isfinite(found).all()


CROPS = st.lists(st.integers(0, 2), min_size=1, max_size=12)  # the group of each, in the order of their activation
WIDTHS = st.sampled_from([np.float16, np.float32, np.float64])


def places(group):
    """Place of each crop among those of its group."""
    return np.array([group[:crop].count(own) for crop, own in enumerate(group)])


@given(CROPS, st.integers(0, 999), st.integers(1, 5), st.sampled_from([0.0, 0.5, 1.0]), WIDTHS)
def test_scores_are_of_the_strongest_crops_and_the_discount_is_their_mean(group, seed, top, discount, width):
    rng, rank = np.random.default_rng(seed), places(group)
    crops, concepts = unit(rng, len(group)).astype(width), unit(rng, 4).astype(width)
    own = soft_wpmi(crops, np.array(group), rank, 3, concepts, top=top, discount=0.0)
    first = rank < top
    assert np.array_equal(
        soft_wpmi(crops[first], np.array(group)[first], rank[first], 3, concepts, top=top, discount=0.0), own
    )
    assert (own <= 1e-6).all(), "log-probabilities, but for what keeps the logarithm finite"
    found = soft_wpmi(crops, np.array(group), rank, 3, concepts, top=top, discount=discount)
    assert np.allclose(found, own - discount * np.log(np.exp(own).mean(axis=0)))
    names = rng.permutation(3)
    assert np.allclose(soft_wpmi(crops, names[group], rank, 3, concepts, top=top, discount=discount)[names], found)


@given(st.integers(0, 999), st.integers(1, 4))
def test_the_first_crop_has_the_published_weight_whatever_the_top(seed, top):
    rng = np.random.default_rng(seed)
    crop, concepts = unit(rng, 1), unit(rng, 4)
    found = soft_wpmi(crop, np.array([0]), np.array([0]), 1, concepts, top=top, discount=0.0)
    given_ = np.exp(10 * crop @ concepts.T) / np.exp(10 * crop @ concepts.T).sum()
    np.testing.assert_allclose(found, np.log(1 + 0.998 * (given_ - 1) + 1e-7), atol=1e-4)


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_crops_that_several_groups_share_need_no_copies(seed, entries):
    rng = np.random.default_rng(seed)
    crops, concepts = unit(rng, 5), unit(rng, 4)
    crop, group = rng.integers(0, 5, entries), rng.integers(0, 3, entries)
    rank = np.arange(entries)
    shared = soft_wpmi(crops, group, rank, 3, concepts, crop=crop, top=30)
    np.testing.assert_allclose(shared, soft_wpmi(crops[crop], group, rank, 3, concepts, top=30), atol=1e-5)
