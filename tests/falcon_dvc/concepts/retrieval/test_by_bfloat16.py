"""Candidates by products in bfloat16: none of the nearest captions is lost, and few others are returned."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc import processor
from falcon_dvc.concepts.retrieval import by_bfloat16
from falcon_dvc.concepts.retrieval.by_bfloat16 import candidates, largest_error, longest
from falcon_dvc.concepts.retrieval.nearest import DECIMALS, FEW, nearest_captions
from tests.support.matrices import unit_rows

SEEDS = st.integers(0, 2**32 - 1)
TOLERANCE = 10.0**-DECIMALS


def close_rows(seed, rows, dim, spread):
    """Rows that differ from one direction by little, so that most products are nearly the same."""
    rng = np.random.default_rng(seed)
    return (unit_rows(rng, 1, dim) + spread * rng.normal(size=(rows, dim))).astype(np.float32)


@given(SEEDS, st.integers(1, 8), st.sampled_from([1, 7, 64]), st.sampled_from([1e-4, 0.01, 1.0]), st.booleans())
def test_no_pair_that_may_be_among_the_nearest_is_lost(seed, k, dim, spread, known):
    crops, texts = close_rows(seed, 5, dim, spread), close_rows(seed + 1, 80, dim, spread)
    cosines = np.round(crops.astype(float) @ texts.astype(float).T, DECIMALS)
    best = np.sort(cosines, axis=1)[:, -k - 2] if known else np.full(len(crops), -np.inf)
    limit = np.maximum(best, np.sort(cosines, axis=1)[:, -k])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_bfloat16, "OPEN", 1)
        crop, text = candidates(crops, texts, best, k, FEW, TOLERANCE)
    assert set(zip(*np.nonzero(cosines >= limit[:, None]), strict=True)) <= set(zip(crop, text, strict=True))
    assert len(set(zip(crop, text, strict=True))) == len(crop)


@given(SEEDS, st.sampled_from([1, 7, 512]), st.floats(1e-3, 1e3))
def test_the_error_of_products_is_bounded(seed, dim, length):
    rng = np.random.default_rng(seed)
    rows = [rng.normal(scale=length, size=(count, dim)).astype(np.float32) for count in (6, 9)]
    halves = [torch.from_numpy(one).bfloat16().float() for one in rows]
    true = rows[0].astype(float) @ rows[1].astype(float).T
    assert np.abs((halves[0] @ halves[1].T).numpy() - true).max() <= largest_error(
        longest(rows[0]), longest(rows[1]), dim
    )


@given(st.integers(1, 9), st.integers(1, 9))
def test_the_longest_row(rows, dim):
    values = np.arange(rows * dim, dtype=np.float32).reshape(rows, dim)
    assert longest(values) == pytest.approx(np.linalg.norm(values[-1])) and longest(values[:0]) == 0


def test_few_others_are_returned():
    rng = np.random.default_rng(0)
    crops, texts = unit_rows(rng, 50, 128).astype(np.float32), unit_rows(rng, 4000, 128).astype(np.float32)
    crop, _ = candidates(crops, texts, np.full(50, -np.inf), 5, FEW, TOLERANCE)
    assert 5 * 50 <= len(crop) <= 10 * 50


@pytest.mark.filterwarnings("error")
def test_rows_that_cannot_be_written_are_read(tmp_path):
    np.save(tmp_path / "rows.npy", unit_rows(np.random.default_rng(0), 9))
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    crop, text = candidates(rows, rows, np.full(9, -np.inf), 1, FEW, TOLERANCE)
    assert {(place, place) for place in range(9)} <= set(zip(crop, text, strict=True))


def test_cosines_that_are_nearly_the_same_are_left_to_single_precision():
    crops, texts = close_rows(0, 50, 128, 1e-4), close_rows(1, 4000, 128, 1e-4)
    assert candidates(crops, texts, np.full(50, -np.inf), 5, FEW, TOLERANCE) is None
    expected = np.argsort(-np.round(crops.astype(float) @ texts.astype(float).T, DECIMALS), axis=1, kind="stable")[
        :, :5
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_bfloat16, "FROM", 0)
        patch.setattr(processor, "multiplies_bfloat16", lambda: True)
        np.testing.assert_array_equal(nearest_captions(crops, [(np.arange(4000), texts)], 5).captions, expected)


@given(SEEDS, st.integers(1, 4), st.integers(1, 6))
def test_the_search_finds_the_same(seed, parts, k):
    rng = np.random.default_rng(seed)
    crops, texts = unit_rows(rng, 7), unit_rows(rng, 20)[rng.integers(0, 20, 60)]
    shards = [(rows, texts[rows]) for rows in np.array_split(rng.permutation(60), parts)]
    expected = nearest_captions(crops, shards, k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_bfloat16, "FROM", 0)
        patch.setattr(processor, "multiplies_bfloat16", lambda: True)
        taken: list[int] = []
        patch.setattr(by_bfloat16, "candidates", lambda *given: taken.append(1) or candidates(*given))
        found = nearest_captions(crops, shards, k)
    assert len(taken) == parts
    np.testing.assert_array_equal(found.captions, expected.captions)
    np.testing.assert_array_equal(found.cosines, expected.cosines)
