"""Facets: crops of several things fall apart, crops of one thing, or of things that come together, do not."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from falcon_dvc.crops.facets import clusters, differences, facets_of, most_typical

SEEDS = st.integers(0, 2**32 - 1)
DIM = 12


def crops(seed, sizes, noise=0.15):
    """Unit embeddings near one direction for each kind, the kind of each crop, and a score of each kind's word."""
    rng = np.random.default_rng(seed)
    kind = np.repeat(np.arange(len(sizes)), sizes)
    centres = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0][: len(sizes)]
    found = centres[kind] + noise * rng.normal(size=(len(kind), DIM))
    named = (kind[:, None] == np.arange(len(sizes))) & (rng.random((len(kind), len(sizes))) < 0.7)
    return found / np.linalg.norm(found, axis=1, keepdims=True), kind, named * 0.8


@settings(max_examples=20)
@given(SEEDS)
def test_crops_of_three_kinds_fall_into_them_the_largest_first(seed):
    embeddings, kind, scores = crops(seed, [20, 40, 30])
    assert facets_of(embeddings, scores, 0.1).tolist() == np.array([2, 0, 1])[kind].tolist()


@settings(max_examples=20)
@given(SEEDS)
def test_order_of_the_crops_changes_nothing(seed):
    embeddings, _, scores = crops(seed, [20, 25, 30], noise=0.4)
    order = np.random.default_rng(seed).permutation(75)
    assert np.array_equal(facets_of(embeddings, scores, 0.1)[order], facets_of(embeddings[order], scores[order], 0.1))


@settings(max_examples=20)
@given(SEEDS)
def test_things_that_come_together_are_one_facet(seed):
    """Every crop shows both: k-means would divide them by noise."""
    embeddings, _, _ = crops(seed, [60], noise=0.4)
    both = np.tile([0.9, 0.8], (60, 1)) + 0.02 * np.random.default_rng(seed).random((60, 2))
    assert not facets_of(embeddings, both, 0.1).any()


def test_one_word_or_none_or_a_word_on_no_crop_gives_one_facet():
    embeddings, _, scores = crops(0, [20, 20])
    scores[:, 1] = 0
    for words in ([], [0], [0, 1]):
        assert not facets_of(embeddings, scores[:, words], 0.1).any()
    assert facets_of(embeddings[:0], scores[:0], 0.1).shape == (0,)


def test_the_word_that_distinguishes_least_is_dropped():
    embeddings, kind, scores = crops(0, [30, 20])
    everywhere = np.full((50, 1), 0.5)
    assert facets_of(embeddings, np.hstack([everywhere, scores]), 0.1).tolist() == kind.tolist()


@settings(max_examples=20)
@given(SEEDS)
def test_every_crop_is_in_the_cluster_whose_mean_crop_is_nearest(seed):
    embeddings, _, scores = crops(seed, [10, 15, 20], noise=0.5)
    facet = clusters(embeddings, scores)
    centres = np.stack([embeddings[facet == one].sum(axis=0) for one in np.unique(facet)])
    cosine = embeddings @ (centres / np.linalg.norm(centres, axis=1, keepdims=True)).T
    assert np.array_equal(np.unique(facet)[np.round(cosine, 9).argmax(axis=1)], facet)


@settings(max_examples=20)
@given(SEEDS)
def test_a_difference_is_to_the_nearest_other_cluster(seed):
    rng = np.random.default_rng(seed)
    facet, scores = np.array([0, 1, 2, *rng.integers(0, 3, 20)]), rng.random((23, 3))
    mean = [scores[facet == one].mean(axis=0) for one in range(3)]
    expected = [mean[one][one] - max(mean[other][one] for other in range(3) if other != one) for one in range(3)]
    assert np.allclose(differences(facet, scores), expected)
    emptied = differences(np.minimum(facet, 1), scores)
    assert emptied[2] == -np.inf and np.isfinite(emptied[:2]).all()


@settings(max_examples=20)
@given(SEEDS)
def test_typical_crops_come_first_by_facet(seed):
    embeddings, kind, _ = crops(seed, [10, 15])
    order = most_typical(embeddings, kind)
    assert sorted(order) == list(range(25)) and np.array_equal(kind[order], kind)
    for rows in (order[:10], order[10:]):
        cosine = embeddings[rows] @ embeddings[rows].sum(axis=0)
        assert (np.diff(cosine) < 1e-6).all()
