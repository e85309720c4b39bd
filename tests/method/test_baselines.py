"""soft-WPMI by its published formula, and what it must not depend on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from stages.method.baselines import caption_means, soft_wpmi


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
            weight = 0.998 + (0.97 - 0.998) * rank[crop] / (top - 1)
            total[group[crop]] += np.log(1 + weight * (given_[crop] - 1) + 1e-7)
    return total - np.log(np.exp(total).mean(axis=0))


@given(st.integers(0, 10_000))
def test_formula(seed):
    rng = np.random.default_rng(seed)
    group, rank = np.repeat(np.arange(3), 5), np.tile(np.arange(5), 3)
    crops, concepts = unit(rng, 15), unit(rng, 4)
    order = rng.permutation(15)
    found = soft_wpmi(crops[order], group[order], rank[order], 3, concepts, top=4)
    np.testing.assert_allclose(found, by_hand(crops, group, rank, 3, concepts, 4))


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


def test_caption_means_are_unit_and_follow_the_captions():
    captions = np.eye(3)
    incidence = sparse.csr_array(np.array([[1, 0, 1], [1, 0, 0], [0, 0, 1]]))
    found = caption_means(captions, incidence, np.array([0, 2, 1]))
    np.testing.assert_allclose(found[0], [2**-0.5, 2**-0.5, 0])
    np.testing.assert_allclose(found[1], [2**-0.5, 0, 2**-0.5])
    assert np.all(found[2] == 0), "a concept that no caption mentions has no direction"
    with pytest.raises(IndexError):
        caption_means(captions, incidence, np.array([3]))
