"""The approximate indexes propose candidates among which the exact search's captions are, if enough lists are searched."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falcon_dvc.concepts.retrieval import approximate
from falcon_dvc.concepts.retrieval.approximate import Approximation, build_index, candidates
from falcon_dvc.concepts.retrieval.nearest import nearest_captions, nearest_of, recall
from tests.support.matrices import unit_rows

SETTINGS = {"seed": 0, "nlist": 16, "nprobe": 16, "train": 400}


def found(texts, crops, k=5, **settings):
    index = build_index(texts, Approximation(**{**SETTINGS, **settings}))
    ids = np.arange(len(texts)) * 3
    return nearest_of(crops, candidates(index, crops, k), ids, lambda places: texts[places], k).captions


@pytest.fixture
def spaces():
    """Texts in bunches, and crops that lie apart from them, as images do."""
    rng = np.random.default_rng(0)
    texts = np.repeat(unit_rows(rng, 40), 20, axis=0) + 0.3 * unit_rows(rng, 800)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    crops = texts[rng.integers(0, 800, 50)] + 1.5 * unit_rows(rng, 1) + 0.2 * unit_rows(rng, 50)
    return texts, (crops / np.linalg.norm(crops, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("index", ["ivf", "sq"])
def test_a_full_search_gives_the_exact_captions(spaces, index):
    texts, crops = spaces
    exact = nearest_captions(crops, [(np.arange(len(texts)) * 3, texts)], 5)
    assert np.array_equal(found(texts, crops, index=index), exact.captions)


def test_fewer_lists_find_less_and_it_shows(spaces):
    texts, crops = spaces
    exact = nearest_captions(crops, [(np.arange(len(texts)) * 3, texts)], 5).captions
    recalls = [recall(found(texts, crops, index="ivf", nprobe=probed), exact) for probed in (1, 4, 16)]
    assert recalls[0] < recalls[1] <= recalls[2] == 1


def test_the_same_seed_gives_the_same_index(spaces):
    import faiss

    texts, _ = spaces
    made = [build_index(texts, Approximation(index="ivf", **{**SETTINGS, "seed": seed})) for seed in (1, 1, 2)]
    first, again, other = (faiss.serialize_index(index).tobytes() for index in made)
    assert first == again != other


def test_a_corpus_smaller_than_what_is_asked_for_leaves_places_empty():
    texts = unit_rows(np.random.default_rng(0), 3)
    assert found(texts, texts, index="sq").tolist()[0][3:] == [-1, -1]


def test_more_lists_than_captions_are_refused():
    texts = unit_rows(np.random.default_rng(0), 15)
    with pytest.raises(ValueError, match="16 lists for 15 captions"):
        build_index(texts, Approximation(index="ivf", **SETTINGS))


@settings(max_examples=10)
@given(st.integers(0, 999), st.integers(1, 40), st.integers(1, 12), st.sampled_from([np.float16, np.float32]))
def test_candidates_are_different_rows_the_best_among_them_however_the_index_was_filled(seed, captions, k, width):
    """Some captions are copies of others; float16, as embeddings are kept, holds them exactly."""
    rng = np.random.default_rng(seed)
    texts = unit_rows(rng, captions).astype(width)[rng.integers(0, captions, captions)]
    crops = unit_rows(rng, 4).astype(np.float32)
    everywhere = Approximation(index="ivf", seed=seed, nlist=min(captions, 3), nprobe=3, train=captions)
    for chosen in (everywhere, Approximation(index="sq", seed=seed, nlist=1, nprobe=1, train=1)):
        rows = candidates(build_index(texts, chosen), crops, k)
        assert rows.shape == (4, min(approximate.OVERFETCH * k, captions))
        assert all(len(set(row)) == len(row) and min(row) >= 0 and max(row) < captions for row in rows.tolist())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(approximate, "ROWS_AT_ONCE", 7)
            assert np.array_equal(candidates(build_index(texts, chosen), crops, k), rows)
        best = np.sort(np.take_along_axis(crops @ texts.astype(np.float32).T, rows, axis=1), axis=1)[:, ::-1]
        every = np.sort(crops @ texts.astype(np.float32).T, axis=1)[:, ::-1][:, : rows.shape[1]]
        assert np.allclose(best, every, atol=2e-3 if width == np.float32 else 1e-6)
