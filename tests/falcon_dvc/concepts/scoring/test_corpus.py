"""The corpus: mentions joined to captions, shards, and files that do not fit."""

import numpy as np
import pandas as pd
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_array, write_json, write_table
from falcon_dvc.concepts.scoring.corpus import read_corpus, shards_of
from falcon_dvc.errors import UserError

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
