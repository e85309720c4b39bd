"""LAION's shards: pairs by number, in the order of the numbers, captions and embeddings row by row; what does not fit is one line."""

import numpy as np
import pyarrow as pa
import pytest

from falcon_dvc.captions.laion import Laion, is_laion
from falcon_dvc.captions.selection import select, selected
from falcon_dvc.captions.vectors import GivenEmbeddings
from falcon_dvc.errors import UserError
from tests.support.caption_files import rows_for, write_shard


def opened(folder, dim=4):
    source = Laion(str(folder))
    return source, GivenEmbeddings(source.embeddings, dim)


def kept(folder):
    source, given = opened(folder)
    selection = select(source, given)
    table = pa.concat_tables(selected(source, selection, with_source=True))
    return selection, table, given.unit(selection.embeddings)[:]


@pytest.mark.parametrize("divided", [False, True])
def test_shards_of_unequal_size_and_type_read_in_the_order_of_their_numbers(tmp_path, divided):
    shards = {10: ["k"], 2: ["c", "d", "e"], 0: ["a", "b"]}
    for number, texts in shards.items():
        dtype = np.float32 if number == 2 else np.float16
        write_shard(tmp_path, number, texts, rows_for(texts, dtype=dtype), divided=divided)
    (tmp_path / "img_emb").mkdir()
    np.save(tmp_path / "img_emb" / "img_emb_0.npy", rows_for("abc"))
    assert is_laion(tmp_path)
    selection, table, embeddings = kept(tmp_path)
    assert table["text"].to_pylist() == list("abcdek")
    assert table["file"].to_pylist() == [0, 0, 1, 1, 1, 2] and table["row"].to_pylist() == [0, 1, 0, 1, 2, 0]
    assert table["embedding"].to_pylist() == selection.captions.tolist() == list(range(6))
    assert np.allclose(embeddings[:, 1] / embeddings[:, 0], [1, 2, 1, 2, 3, 1], rtol=1e-3)
    assert np.allclose(np.linalg.norm(embeddings, axis=1), 1)


def test_numbers_may_be_padded(tmp_path):
    for number, text in (("0001", "b"), ("0000", "a")):
        write_shard(tmp_path, number, [text], rows_for(text))
    assert kept(tmp_path)[1]["text"].to_pylist() == ["a", "b"]


def test_rows_that_are_zero_or_no_number_are_dropped_and_counted(tmp_path):
    texts = ["a", "b", "c", "d", "b"]
    embeddings = rows_for(texts)
    embeddings[0], embeddings[1, 2], embeddings[3, 0] = 0, np.nan, np.inf
    write_shard(tmp_path, 0, texts, embeddings)
    selection, table, _ = kept(tmp_path)
    assert table["text"].to_pylist() == ["c", "b"], "a later copy stands in for one without an embedding"
    assert table["embedding"].to_pylist() == [2, 4]
    assert (selection.without_embedding, selection.duplicates) == (3, 0)


def test_the_embedding_of_a_text_is_that_of_its_first_copy(tmp_path):
    write_shard(tmp_path, 0, ["a", "b"], rows_for("ab"))
    write_shard(tmp_path, 1, ["b", "c", " a "], rows_for("abc"))
    selection, table, _ = kept(tmp_path)
    assert table["embedding"].to_pylist() == [0, 1, 3]
    assert table["copies"].to_pylist() == [2, 2, 1] and selection.duplicates == 2


def test_files_are_described_by_content(tmp_path):
    write_shard(tmp_path, 0, ["a"], rows_for("a"))
    before = opened(tmp_path)[1].described()
    assert before[0]["file"].endswith("text_emb_0.npy") and before[0]["rows"] == 1
    write_shard(tmp_path, 0, ["a"], 2 * rows_for("a"))
    assert opened(tmp_path)[1].described()[0]["sha256"] != before[0]["sha256"]


def test_fewer_captions_than_embeddings_name_both_files_and_counts(tmp_path):
    write_shard(tmp_path, 3, ["a", "b"], rows_for("abc"))
    with pytest.raises(
        UserError, match=r"metadata_3\.parquet has 2 captions, but [^\n]*text_emb_3\.npy has 3 embeddings"
    ):
        opened(tmp_path)


@pytest.mark.parametrize("missing", ["metadata_1.parquet", "text_emb_1.npy"])
def test_half_a_pair_is_named(tmp_path, missing):
    for number in (0, 1):
        write_shard(tmp_path, number, ["a"], rows_for("a"))
    (tmp_path / missing).unlink()
    with pytest.raises(UserError, match=r"_1[^\n]* has no partner with the number 1"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.ones((1, 4)), "float64"),
        (np.ones((1, 4), dtype=np.int8), "int8"),
        (np.ones(1, dtype=np.float16), r"shape \(1,\)"),
        (np.ones((1, 5), dtype=np.float16), "width 5, but image_text has 4"),
        (np.array([[None]]), "not a readable file of embeddings"),
    ],
)
def test_embeddings_of_another_kind_are_one_clear_line(tmp_path, embeddings, message):
    write_shard(tmp_path, 0, ["a"], embeddings)
    with pytest.raises(UserError, match=rf"^[^\n]*text_emb_0\.npy: [^\n]*{message}[^\n]*$"):
        opened(tmp_path)


def test_columns_stored_one_after_the_other_read_the_same(tmp_path):
    write_shard(tmp_path, 0, ["a", "b", "c"], np.asfortranarray(rows_for("abc")))
    straight = rows_for("abc").astype(np.float32)
    assert np.allclose(kept(tmp_path)[2], straight / np.linalg.norm(straight, axis=1, keepdims=True))


def test_other_names_and_folders_are_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="no shards of LAION"):
        opened(tmp_path)
    write_shard(tmp_path, "x", ["a"], rows_for("a"))
    with pytest.raises(UserError, match=r"metadata_x\.parquet has no number"):
        opened(tmp_path)
    for number in ("1", "01"):
        write_shard(tmp_path / "twice", number, ["a"], rows_for("a"))
    with pytest.raises(UserError, match="have the same number"):
        opened(tmp_path / "twice")


def test_metadata_that_is_no_table_is_one_clear_line(tmp_path):
    write_shard(tmp_path, 0, ["a"], rows_for("a"))
    (tmp_path / "metadata_0.parquet").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"metadata_0\.parquet is not a readable table"):
        opened(tmp_path)


def test_a_corpus_without_one_usable_embedding_is_one_clear_line(tmp_path):
    write_shard(tmp_path, 0, ["a", "b"], 0 * rows_for("ab"))
    with pytest.raises(UserError, match="2 captions and no usable embedding"):
        kept(tmp_path)


def test_an_empty_shard_is_no_obstacle(tmp_path):
    write_shard(tmp_path, 0, pa.array([], pa.string()), rows_for("")[:0])
    write_shard(tmp_path, 1, ["a"], rows_for("a"))
    assert kept(tmp_path)[1]["text"].to_pylist() == ["a"]
