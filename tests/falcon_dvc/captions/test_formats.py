"""The format of a corpus by suffix, folder or contents; embeddings beside a table; what is ambiguous is one line."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from falcon_dvc.captions.formats import format_of, is_plain, open_captions, open_given
from falcon_dvc.captions.selection import select
from falcon_dvc.errors import UserError
from tests.support.caption_files import (
    data,
    rows_for,
    texts_of,
    write_coco,
    write_csv,
    write_jsonl,
    write_parquet,
    write_shard,
)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("c.csv", write_csv),
        ("C.TSV", lambda path, texts: write_csv(path, texts, "\t")),
        ("c.parquet", write_parquet),
        ("c.jsonl", write_jsonl),
        ("c.ndjson", write_jsonl),
        ("c.json", write_coco),
        ("c.txt", lambda path, texts: path.write_text("\n".join(texts))),
        ("c.yaml", lambda path, texts: path.write_text(f"templates: ['{{}}']\nwords: {texts}")),
        ("captions", lambda path, texts: path.write_text("\n".join(texts))),
        ("parquet", write_parquet),
        ("objects", write_jsonl),
    ],
)
def test_the_format_is_known_by_suffix_or_contents(tmp_path, name, write):
    write(tmp_path / name, ["a", "b"])
    assert texts_of(tmp_path / name) == ["a", "b"]


def test_the_contents_of_a_text_file_decide_unless_the_format_is_given(tmp_path):
    write_jsonl(tmp_path / "c.txt", ["a"])
    assert format_of(tmp_path / "c.txt") == "jsonl" and not is_plain(data(tmp_path / "c.txt"))
    assert texts_of(tmp_path / "c.txt", caption_format="lines") == ['{"key": 1, "caption": "a"}']
    assert is_plain(data(tmp_path / "c.txt", caption_format="lines")) and not is_plain(data(tmp_path))


def test_the_files_of_a_folder_are_read_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 9, 1):
        write_parquet(tmp_path / f"part{number}.parquet", [str(number)])
    (tmp_path / "README").write_text("no captions")
    assert texts_of(tmp_path) == ["1", "9", "10"]


def test_folders_that_are_no_corpus_get_one_clear_line(tmp_path):
    with pytest.raises(UserError, match=r"^data\.captions: [^\n]* holds no captions"):
        open_captions(data(tmp_path))
    write_csv(tmp_path / "a.csv", ["a"])
    write_jsonl(tmp_path / "b.jsonl", ["b"])
    with pytest.raises(UserError, match=r"several formats \(jsonl, table\)"):
        open_captions(data(tmp_path))
    assert texts_of(tmp_path, caption_format="jsonl") == ["b"]
    with pytest.raises(UserError, match="no file of the format coco"):
        open_captions(data(tmp_path, caption_format="coco"))
    with pytest.raises(UserError, match="cannot be read"):
        open_captions(data(tmp_path / "none"))


def test_shards_of_laion_bring_their_embeddings(tmp_path):
    write_shard(tmp_path, 0, ["a"], rows_for("a"))
    source = open_captions(data(tmp_path))
    assert open_given(data(tmp_path), source, lambda: 4).files == source.embeddings
    with pytest.raises(UserError, match="bring their own"):
        open_given(data(tmp_path, caption_embeddings="e.npy"), source, lambda: 4)


def given_rows(folder, **more):
    """Which row of the given embeddings each kept caption has."""
    params = data(folder, caption_embeddings=more.pop("name", "e.npy"), **more)
    source = open_captions(params)
    selection = select(source, open_given(params, source, lambda: 4))
    return dict(zip(selection.captions.tolist(), selection.embeddings.tolist(), strict=True))


def test_embeddings_in_the_order_of_the_table(tmp_path):
    write_csv(tmp_path / "c.csv", ["a", "", "a", "b"])
    np.save(tmp_path / "e.npy", rows_for("abcd"))
    assert given_rows(tmp_path) == {0: 0, 3: 3}
    np.save(tmp_path / "e.npy", rows_for("abc"))
    with pytest.raises(UserError, match=r"e\.npy has 3 embeddings for 4 captions"):
        given_rows(tmp_path)


@pytest.mark.parametrize("kind", ["npy", "safetensors"])
@pytest.mark.parametrize("coco", [False, True])
def test_embeddings_by_a_list_of_ids(tmp_path, kind, coco):
    ids = [70, 10, 50, 30] if coco else [0, 1, 2, 3]
    if coco:
        write_coco(tmp_path / "c.json", ["a", "b", "c", "d"], ids)
    else:
        write_jsonl(tmp_path / "c.jsonl", ["a", "b", "c", "d"])
    listed = np.array([ids[3], ids[0], ids[2]], dtype=np.int32)
    if kind == "npy":
        np.save(tmp_path / "e.npy", rows_for("abc"))
        np.save(tmp_path / "e.ids.npy", listed)
    else:
        save_file({"embeddings": rows_for("abc"), "ids": listed}, tmp_path / "e.safetensors")
    assert given_rows(tmp_path, name=f"e.{kind}") == {0: 1, 2: 2, 3: 0}


def test_ids_of_no_caption_are_one_clear_line(tmp_path):
    write_csv(tmp_path / "c.csv", ["a", "b"])
    np.save(tmp_path / "e.npy", rows_for("abc"))
    np.save(tmp_path / "e.ids.npy", np.array([1, 2, -1]))
    with pytest.raises(UserError, match=r"2 of 3 ids in [^\n]*e\.npy name no caption"):
        given_rows(tmp_path)


def test_ids_that_two_annotations_share_are_one_clear_line(tmp_path):
    write_coco(tmp_path / "c.json", ["a", "b", "c"], [5, 5, 6])
    np.save(tmp_path / "e.npy", rows_for("ab"))
    np.save(tmp_path / "e.ids.npy", np.array([5, 6]))
    with pytest.raises(UserError, match="1 of 2 ids"):
        given_rows(tmp_path)


def test_an_empty_list_of_ids_gives_no_caption(tmp_path):
    write_csv(tmp_path / "c.csv", ["a", "b"])
    np.save(tmp_path / "e.npy", rows_for("abc")[:0])
    np.save(tmp_path / "e.ids.npy", np.zeros(0, dtype=int))
    with pytest.raises(UserError, match="no usable embedding"):
        given_rows(tmp_path)


@pytest.mark.parametrize("name", ["none.npy", "../e.npy", "c.csv", "/e.npy"])
def test_embeddings_outside_the_folder_of_the_captions_are_one_clear_line(tmp_path, name):
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_csv(folder / "c.csv", ["a"])
    np.save(tmp_path / "e.npy", rows_for("a"))
    with pytest.raises(UserError, match=r"^data\.caption_embeddings: [^\n]*into one folder"):
        given_rows(folder, name=name)
    with pytest.raises(UserError, match=r"^data\.caption_embeddings: [^\n]*into one folder"):
        given_rows(folder / "c.csv", name="e.npy")
