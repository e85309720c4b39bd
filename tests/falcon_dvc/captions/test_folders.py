"""A folder of captions from elsewhere cannot bring what else lies on the machine into a report."""

import numpy as np
import pytest

from falcon_dvc.captions.formats import open_captions, open_given
from falcon_dvc.captions.laion import Laion
from falcon_dvc.errors import UserError
from tests.support.caption_files import data, rows_for, texts_of, write_shard

REFUSED = r"^data\.captions: .* is a link out of the folder .*; put the file itself there$"


@pytest.fixture
def corpus(tmp_path):
    """A folder of captions beside a secret."""
    (tmp_path / "secret.txt").write_text("the key of the house\n")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.txt").write_text("a boat\n")
    return tmp_path / "corpus"


@pytest.mark.parametrize(
    "target", ["../secret.txt", "{}/secret.txt", "a.txt/../../secret.txt", "down/../../secret.txt"]
)
def test_a_link_out_of_the_folder_is_refused(corpus, target):
    (corpus / "down").mkdir()
    link = corpus / "b.txt"
    link.symlink_to(target.format(corpus.parent))
    if link.exists():
        with pytest.raises(UserError, match=REFUSED):
            open_captions(data(corpus))
    else:
        assert texts_of(corpus) == ["a boat"]


def test_a_link_within_the_folder_and_a_folder_that_is_a_link_are_read(corpus):
    (corpus / "b.txt").symlink_to("a.txt")
    (corpus.parent / "link").symlink_to("corpus")
    assert texts_of(corpus.parent / "link") == texts_of(corpus) == ["a boat", "a boat"]


@pytest.mark.parametrize("name", ["metadata_0.parquet", "text_emb_0.npy"])
def test_shards_that_are_links_out_are_refused(tmp_path, name):
    write_shard(tmp_path / "laion", 0, ["a"], rows_for("a"))
    (tmp_path / "laion" / name).rename(tmp_path / name)
    (tmp_path / "laion" / name).symlink_to(f"../{name}")
    with pytest.raises(UserError, match=REFUSED):
        Laion(str(tmp_path / "laion"))


def test_embeddings_and_templates_that_are_links_out_are_refused(corpus):
    np.save(corpus.parent / "e.npy", rows_for("a"))
    (corpus / "e.npy").symlink_to("../e.npy")
    given = data(corpus, caption_embeddings="e.npy")
    with pytest.raises(UserError, match=REFUSED):
        open_given(given, open_captions(given), lambda: 4)
    (corpus / "templates.txt").write_text("a {}\n")
    (corpus / "words.txt").symlink_to("../secret.txt")
    with pytest.raises(UserError, match=REFUSED):
        texts_of(corpus, caption_format="templates")
