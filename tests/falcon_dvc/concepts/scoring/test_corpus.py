"""The corpus: mentions joined to captions, shards, and files that do not fit."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_array, write_json, write_table
from falcon_dvc.concepts.scoring.corpus import Corpus, different_rows, read_corpus, shards_of
from falcon_dvc.concepts.scoring.explanation import Settings
from falcon_dvc.errors import UserError

SETTINGS = Settings(5, 20.0, "retrieved", "off", 0.1, 0.5, 0.25, 0.5, 8)
MENTIONS = [
    (3, "word", "tree", "tree"),
    (3, "phrase", "green tree", "green tree"),
    (8, "word", "fir", "tree"),
    (8, "word", "tree", "tree"),
    (8, "phrase", "tree", "tree"),
    (5, "word", "boat", "boat"),
]


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_table(
        paths.CAPTIONS / "captions.parquet", pd.DataFrame({"caption": [3, 5, 8], "text": list("abc"), "copies": 1})
    )
    write_array(paths.CAPTIONS / "embeddings.npy", np.eye(3, dtype=np.float32))
    write_json(paths.CAPTIONS / "index.json", {"image_text": "m", "captions": 3, "dim": 3})
    write_table(paths.MENTIONS, pd.DataFrame(MENTIONS, columns=["caption", "kind", "mention", "concept"]))


@pytest.mark.usefixtures("written")
def test_mentions_are_joined_to_captions_by_number():
    corpus = read_corpus()
    assert corpus.vocabulary.tolist() == ["boat", "tree", "green tree", "tree"]
    assert corpus.mentions.phrase.tolist() == [False, False, True, True]
    assert corpus.mentions.incidence.toarray().tolist() == [[0, 1, 1, 0], [1, 0, 0, 0], [0, 1, 0, 1]]


@pytest.mark.usefixtures("written")
def test_files_that_do_not_fit_or_are_missing_are_one_clear_line():
    write_array(paths.CAPTIONS / "embeddings.npy", np.eye(4, dtype=np.float32))
    with pytest.raises(UserError, match="3 captions but 4 embeddings; run"):
        read_corpus()
    (paths.CAPTIONS / "captions.parquet").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"captions\.parquet: not a readable table"):
        read_corpus()
    (paths.CAPTIONS / "captions.parquet").unlink()
    with pytest.raises(UserError, match=r"captions\.parquet: not a readable table"):
        read_corpus()


@pytest.mark.parametrize("count", [None, 1, 2, 3])
def test_shards_hold_every_caption_once(count):
    shards = list(shards_of(np.array([3, 5, 8]), np.eye(3), count))
    assert np.concatenate([ids for ids, _ in shards]).tolist() == [3, 5, 8]
    assert np.array_equal(np.concatenate([rows for _, rows in shards]), np.eye(3))
    assert len(shards) == {None: 1, 1: 1, 2: 2, 3: 3}[count]


@given(arrays(np.float32, st.tuples(st.integers(0, 12), st.integers(1, 3)), elements=st.sampled_from([0.0, 0.5, 1.0])))
def test_different_rows_are_those_that_come_first_and_every_row_finds_its_own(rows):
    different, place = different_rows(rows)
    assert np.array_equal(different[place], rows)
    assert len(np.unique(different, axis=0)) == len(different)
    assert np.array_equal(np.unique(place, return_index=True)[1], np.sort(np.unique(place, return_index=True)[1]))


def test_equal_crops_are_compared_once_and_have_the_captions_of_each(monkeypatch):
    rng = np.random.default_rng(0)
    texts, crops = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in rng.normal(size=(2, 40, 8)))
    corpus = Corpus(pd.DataFrame({"caption": np.arange(40)}), texts, None, None, "m")
    alone = corpus.captioned(crops[:5], SETTINGS)
    compared = []
    whole = Corpus.compared
    monkeypatch.setattr(
        Corpus, "compared", lambda self, some, *rest: compared.append(len(some)) or whole(self, some, *rest)
    )
    again = corpus.captioned(np.repeat(crops[:5], 3, axis=0), SETTINGS)
    assert compared == [5]
    assert np.array_equal(again.captions, np.repeat(alone.captions, 3, axis=0))
    assert np.array_equal(again.weights, np.repeat(alone.weights, 3, axis=0))
