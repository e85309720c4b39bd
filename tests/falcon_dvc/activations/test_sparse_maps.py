"""Sparse maps give the features and heatmaps of the same dense maps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from falcon_dvc.activations.sparse_maps import add_members, pooled_features, sparse_rows, summed_maps
from falcon_dvc.crops.heatmaps import group_heatmaps, heatmaps_of
from tests.support.sparse_values import FEATURES, GRID, IMAGES, maps_of

SEEDS = st.integers(0, 10_000)
SHARES = st.sampled_from([0.0, 0.3, 1.0])


@given(SEEDS, SHARES)
def test_pooled_features_are_those_of_dense_maps(seed, share):
    dense, maps = maps_of(seed, share)
    assert maps.shape == dense.shape and np.array_equal(maps.dense(), dense)
    assert np.array_equal(pooled_features(maps, "max").toarray(), dense.max(axis=(2, 3)))
    np.testing.assert_allclose(pooled_features(maps, "mean").toarray(), dense.mean(axis=(2, 3)), atol=1e-6)


@given(SEEDS)
def test_values_in_any_order_become_rows_in_order(seed):
    _, maps = maps_of(seed)
    row, column = np.nonzero(maps.values.toarray())
    order = np.random.default_rng(seed).permutation(len(row))
    values = maps.values.toarray()[row, column]
    found = sparse_rows(row[order], column[order], values[order], maps.values.shape)
    assert np.array_equal(found.toarray(), maps.values.toarray()) and found.has_canonical_format


@given(SEEDS)
def test_heatmaps_of_groups_are_those_of_dense_maps(seed):
    dense, maps = maps_of(seed)
    generator = np.random.default_rng([seed, 1])
    images = generator.integers(0, IMAGES, 12)
    members = sparse.csr_array(generator.random((12, FEATURES)) < 0.4)
    crop, feature = members.nonzero()
    total = np.zeros((12, maps.cells), dtype=np.float32)
    add_members(total, maps, crop, images[crop], feature)
    found = np.maximum(total, 0).reshape(12, *GRID)
    assert np.array_equal(found, group_heatmaps(dense.astype(np.float16), images, members))


@given(SEEDS)
def test_heatmaps_of_directions_are_those_of_dense_maps(seed):
    dense, maps = maps_of(seed)
    generator = np.random.default_rng([seed, 2])
    images, directions = generator.integers(0, IMAGES, 5), generator.normal(size=(5, FEATURES))
    found = np.maximum(summed_maps(maps, images, directions), 0).reshape(5, *GRID)
    np.testing.assert_allclose(found, heatmaps_of(dense[images], directions), atol=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_no_image_gives_no_features(pooling):
    _, maps = maps_of(0)
    none = type(maps)(maps.values[:0], FEATURES, GRID)
    assert pooled_features(none, pooling).shape == (0, FEATURES)
