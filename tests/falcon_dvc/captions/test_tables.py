"""Captions in CSV, TSV, parquet, JSON lines and COCO files: one row a caption whatever stands in the cells; bad files are one line."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falcon_dvc.captions import tables
from falcon_dvc.captions.json_files import JsonFiles
from falcon_dvc.captions.selection import cleaned, select, selected
from falcon_dvc.captions.tables import TableFiles
from falcon_dvc.errors import UserError
from tests.support.caption_files import write_coco, write_csv, write_jsonl, write_parquet

ODD = [
    "a cat\non a mat",
    'a cat\r\nwith "quotes", commas; and\ttabs',
    "nul \x00 inside",
    "",
    "None",
    "x" * 10_000,
    "=HYPERLINK(1)",
    "<script>alert(1)</script>",
    "👩‍👩‍👧 on a 🏖️",
    "كلب أسود يركض",
    "line\u2028separator",
    " ",
    "3.5",
    "last",
]


WRITERS = {
    "csv": (write_csv, TableFiles),
    "tsv": (lambda path, texts: write_csv(path, texts, "\t"), TableFiles),
    "parquet": (write_parquet, TableFiles),
    "jsonl": (write_jsonl, JsonFiles),
    "json": (write_coco, JsonFiles),
}


def texts_of(source):
    """The cleaned texts of all rows, and that their rows are counted on."""
    found = []
    for batch in source.batches():
        assert batch.row == len(found)
        found += cleaned(batch)
    return found


def expected(texts):
    return [" ".join(str(text).replace("\x00", " ").replace("\u2028", " ").split()) for text in texts]


@pytest.mark.parametrize("suffix", WRITERS)
def test_odd_texts_stay_in_their_rows(tmp_path, suffix):
    write, source = WRITERS[suffix]
    write(tmp_path / f"t.{suffix}", ODD)
    assert texts_of(source([str(tmp_path / f"t.{suffix}")])) == expected(ODD)


@pytest.mark.parametrize("suffix", WRITERS)
def test_missing_captions_are_dropped_without_shifting_ids(tmp_path, suffix):
    write, source = WRITERS[suffix]
    write(tmp_path / f"t.{suffix}", ODD)
    opened = source([str(tmp_path / f"t.{suffix}")])
    selection = select(opened)
    table = pa.concat_tables(selected(opened, selection, with_source=True))
    assert table["caption"].to_pylist() == table["row"].to_pylist() == [0, 1, 2, 5, 6, 7, 8, 9, 10, 12, 13]
    assert (selection.lines, selection.empty, selection.cut) == (14, 3, 1)


# Not in a CSV file: a bare \r would end a line of an unquoted cell in other readers, and csv.writer quotes it only since 3.10.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(deadline=None, max_examples=40)
@given(texts=st.lists(TEXT, min_size=1, max_size=12), suffix=st.sampled_from(sorted(WRITERS)), rows=st.integers(1, 5))
def test_rows_never_shift_whatever_the_batches(tmp_path_factory, texts, suffix, rows):
    write, source = WRITERS[suffix]
    path = tmp_path_factory.mktemp("table") / f"t.{suffix}"
    marked = [f"row {number} {text}" for number, text in enumerate(texts)]
    write(path, marked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "ROWS_AT_ONCE", rows)
        found = texts_of(source([str(path)]))
    assert len(found) == len(marked)
    assert all(text.startswith(f"row {number}") for number, text in enumerate(found))


@settings(deadline=None, max_examples=20)
@given(texts=st.lists(st.sampled_from(["a", "b", "c ", " c", "", "d\n"]), min_size=3, max_size=20), data=st.data())
def test_what_is_kept_depends_on_neither_files_nor_batches(tmp_path_factory, texts, data):
    folder = tmp_path_factory.mktemp("table")
    texts = [*texts, "end"]
    write_parquet(folder / "whole.parquet", texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(texts)), max_size=3)))
    parts = np.split(np.array(texts, dtype=object), cuts)
    for number, part in enumerate(parts):
        write_parquet(folder / f"{number}.parquet", part.tolist(), kind=pa.string())
    whole = select(TableFiles([str(folder / "whole.parquet")]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "ROWS_AT_ONCE", 2)
        parted = select(TableFiles([str(folder / f"{number}.parquet") for number in range(len(parts))]))
    assert whole.captions.tolist() == parted.captions.tolist()
    assert whole.copies.tolist() == parted.copies.tolist()
    assert (whole.digest, whole.duplicates, whole.empty) == (parted.digest, parted.duplicates, parted.empty)


def test_every_caption_says_where_it_came_from(tmp_path):
    for name, texts in (("a", ["one", "two"]), ("b", ["two", "three", ""])):
        write_parquet(tmp_path / f"{name}.parquet", texts)
    source = TableFiles([str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")])
    table = pa.concat_tables(selected(source, select(source), with_source=True))
    columns = ["caption", "text", "copies", "file", "row"]
    assert table.column_names == columns
    assert list(zip(*(table[name].to_pylist() for name in columns), strict=True)) == [
        (0, "one", 1, 0, 0),
        (1, "two", 2, 0, 1),
        (3, "three", 1, 1, 1),
    ]


def test_coco_keeps_the_ids_of_its_annotations(tmp_path):
    ids = [203564, -3, 2**62, 7]
    write_coco(tmp_path / "c.json", ["a", "b", "a", "c"], ids)
    source = JsonFiles([str(tmp_path / "c.json")])
    table = pa.concat_tables(selected(source, select(source), with_source=True))
    assert table["id"].to_pylist() == [203564, -3, 7]
    assert table["caption"].to_pylist() == [0, 1, 3]


@pytest.mark.parametrize(
    ("values", "kind", "texts"),
    [
        ([1, None, 3], pa.int64(), ["1", "", "3"]),
        ([1.5, float("nan"), None], pa.float64(), ["1.5", "nan", ""]),
        ([True, None], pa.bool_(), ["True", ""]),
        (["a", None, "a"], pa.dictionary(pa.int32(), pa.string()), ["a", "", "a"]),
        (["a", None], pa.large_string(), ["a", ""]),
        ([b"caf\xe9", b"a"], pa.binary(), ["caf\ufffd", "a"]),
        ([None, None], pa.null(), ["", ""]),
    ],
)
def test_columns_of_other_types_become_text(tmp_path, values, kind, texts):
    write_parquet(tmp_path / "t.parquet", values, kind=kind)
    assert texts_of(TableFiles([str(tmp_path / "t.parquet")])) == texts


def test_bytes_that_are_no_utf8_are_replaced_and_counted(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"caption,n\ncaf\xe9,1\ngood,2\n")
    (tmp_path / "t.jsonl").write_bytes(b'{"caption": "caf\xe9"}\n{"caption": "good"}\n')
    buffers = pa.array([b"caf\xe9", b"good"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"caption": buffers}), tmp_path / "t.parquet")
    for name, source in (("t.csv", TableFiles), ("t.jsonl", JsonFiles), ("t.parquet", TableFiles)):
        assert select(source([str(tmp_path / name)])).undecodable == 1, name
        assert texts_of(source([str(tmp_path / name)])) == ["caf\ufffd", "good"], name


def test_half_a_surrogate_pair_is_replaced(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"caption": "a \\ud83d cat"}\n')
    (tmp_path / "t.json").write_text('{"annotations": [{"id": 1, "caption": "a \\ud83d cat"}]}')
    assert texts_of(JsonFiles([str(tmp_path / "t.jsonl")])) == ["a \ufffd cat"]
    assert texts_of(JsonFiles([str(tmp_path / "t.json")])) == ["a \ufffd cat"]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_csv_file_of_one_column_counts_empty_lines(tmp_path, mark, end):
    (tmp_path / "t.csv").write_bytes(f"{mark}caption{end}a{end}{end}b{end}".encode())
    assert texts_of(TableFiles([str(tmp_path / "t.csv")])) == ["a", "", "b"]


def test_empty_lines_of_json_are_missing_captions_and_numbers_are_text(tmp_path):
    (tmp_path / "t.jsonl").write_text('\n{"text": "a"}\n\n{"other": 1}\n{"text": null}\n{"text": 7}\n{"text": NaN}\n')
    assert texts_of(JsonFiles([str(tmp_path / "t.jsonl")])) == ["", "a", "", "", "", "7", "nan"]


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_the_column_is_the_first_known_or_the_one_that_is_asked_for(tmp_path, suffix):
    write, source = WRITERS[suffix]
    write(tmp_path / f"t.{suffix}", ["a"], column="TEXT")
    write(tmp_path / f"o.{suffix}", ["a"], column="other")
    assert texts_of(source([str(tmp_path / f"t.{suffix}")])) == ["a"]
    assert texts_of(source([str(tmp_path / f"o.{suffix}")], "other")) == ["a"]
    with pytest.raises(UserError, match=r"no column of captions; set data.caption_column to one of: .*other"):
        texts_of(source([str(tmp_path / f"o.{suffix}")]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"caption,caption\na,b\n", "several columns caption"),
        ("t.csv", b"one,n\na,1\n", "no column of captions; set data.caption_column to one of: one, n; or to a number"),
        ("t.parquet", b"PAR1 cut short", "not a readable table"),
        ("t.jsonl", b'{"caption": "a"}\n[1]\n', "line 2: not a JSON object"),
        ("t.jsonl", b'{"caption": "a"}\n{"caption": \n', r"line 2: not valid JSON \("),
        (
            "t.jsonl",
            b'{"caption": {"en": "a"}}\n{}\n',
            "line 1: a caption must be text, not an object with the keys en",
        ),
        ("t.jsonl", b"[" * 100_000, "not readable JSON"),
        ("t.json", b'{"annotations": [1]}', "a caption must be text, not int"),
        ("t.json", b'{"annotations": [{"id": 1, "caption": {}}]}', "a caption must be text, not an object"),
        ("t.json", b'{"annotations": [{"id": 1, "bbox": [1]}]}', "no column of captions; set .* to one of: id, bbox"),
        ("t.json", b"{", "not readable JSON"),
    ],
)
def test_files_that_are_no_captions_get_one_clear_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    source = WRITERS[name.split(".")[1]][1]([str(tmp_path / name)])
    with pytest.raises(UserError, match=rf"^data\.captions: [^\n]*{message}[^\n]*$"):
        texts_of(source)


def test_a_row_of_several_captions_gives_its_number_to_each(tmp_path):
    values = [["a", "b"], [], ["c"], None, ["a", None]]
    write_parquet(tmp_path / "t.parquet", values)
    write_jsonl(tmp_path / "t.jsonl", values)
    for name, source in (("t.parquet", TableFiles), ("t.jsonl", JsonFiles)):
        opened = source([str(tmp_path / name)])
        selection = select(opened)
        table = pa.concat_tables(selected(opened, selection, with_source=True))
        assert (table["text"].to_pylist(), table["row"].to_pylist()) == (["a", "b", "c"], [0, 0, 2]), name
        assert table["caption"].to_pylist() == [0, 1, 3] and table["copies"].to_pylist() == [2, 1, 1]
        assert (selection.lines, selection.empty, selection.duplicates) == (7, 3, 1)


@pytest.mark.parametrize("key", ["7", True, 10**30, None])
def test_annotations_without_whole_numbers_have_no_ids(tmp_path, key):
    write_coco(tmp_path / "c.json", ["a", "b"], [1, key])
    source = JsonFiles([str(tmp_path / "c.json")])
    assert "id" not in next(selected(source, select(source), with_source=True)).column_names
    write_coco(tmp_path / "first.json", ["a"], [1])
    with pytest.raises(
        UserError, match=r"c\.json: an entry has no whole number as id, but those of the first file have"
    ):
        texts_of(JsonFiles([str(tmp_path / "first.json"), str(tmp_path / "c.json")]))


@pytest.mark.parametrize("suffix", WRITERS)
def test_missing_files_get_one_clear_line(tmp_path, suffix):
    with pytest.raises(UserError, match=r"^data\.captions: [^\n]*none"):
        texts_of(WRITERS[suffix][1]([str(tmp_path / f"none.{suffix}")]))


def test_tables_without_captions_get_one_clear_line(tmp_path):
    write_parquet(tmp_path / "t.parquet", [None, "", "nan"], kind=pa.string())
    with pytest.raises(UserError, match="3 rows and no caption among them"):
        select(TableFiles([str(tmp_path / "t.parquet")]))
