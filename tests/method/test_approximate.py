"""The approximate indexes propose candidates among which the exact search's captions are, if enough lists are searched."""

import numpy as np
import pytest

from stages.method.approximate import Approximation, build_index, candidates
from stages.method.retrieval import nearest_captions, nearest_of, recall
from tests.method.test_retrieval import unit_rows

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
