"""Files between stages: whole or not there, the same bytes for the same content, and never code."""

import csv
import json
import os
import pickle
import threading

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from falcon_dvc.artifacts import formats
from falcon_dvc.artifacts.formats import (
    meaningful,
    read_array,
    read_json,
    read_table,
    rounded,
    safe_cell,
    write_array,
    write_bytes,
    write_json,
    write_table,
    write_text,
)
from falcon_dvc.errors import UserError
from tests.support.pickles import Explodes

TABLE = pd.DataFrame(
    {
        "text": ["line\r\nbreak", "NA", "", "=1+1", 'a "b", c', "مرحبا 🚤", "x" * 10_000],
        "number": [1.5, np.nan, -0.25, 1e-9, 3.0, 1e20, 0.1],
        "count": range(7),
        "kept": [True, False] * 3 + [True],
    }
)


WRITERS = {
    "array.npy": lambda path: write_array(path, np.arange(6).reshape(2, 3)),
    "table.parquet": lambda path: write_table(path, TABLE),
    "table.csv": lambda path: write_table(path, TABLE),
    "value.json": lambda path: write_json(path, {"b": 1, "a": [0.1, None]}),
    "text.html": lambda path: write_text(path, "<p>\r\nä</p>\n"),
    "bytes.bin": lambda path: write_bytes(path, b"\0\r\n"),
}
FAILING = {
    "array.npy": lambda path: write_array(path, np.array([{}], dtype=object)),
    "table.parquet": lambda path: write_table(path, pd.DataFrame({"mixed": [1, "two", object()]})),
    "value.json": lambda path: write_json(path, {"a": float("nan")}),
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_content_is_the_same_bytes_with_nothing_beside_it(name, tmp_path):
    first, second = tmp_path / "new" / "folder" / name, tmp_path / name
    WRITERS[name](first)
    WRITERS[name](second)
    WRITERS[name](second)
    assert first.read_bytes() == second.read_bytes()
    assert os.listdir(first.parent) == [name]
    assert first.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", FAILING)
def test_a_failing_writer_leaves_the_old_file_and_no_temporary_one(name, tmp_path):
    WRITERS[name](tmp_path / name)
    before = (tmp_path / name).read_bytes()
    for path in (tmp_path / name, tmp_path / f"fresh_{name}"):
        with pytest.raises((ValueError, TypeError)):
            FAILING[name](path)
    assert (tmp_path / name).read_bytes() == before
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError, MemoryError])
def test_a_writer_stopped_halfway_leaves_the_old_file(stop, tmp_path):
    def write(file):
        file.write(b"half")
        raise stop

    (tmp_path / "file").write_text("old")
    with pytest.raises(stop):
        formats._atomically(tmp_path / "file", write)
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_reader_never_sees_half_a_file(tmp_path):
    path, done, seen = tmp_path / "value.json", threading.Event(), set()
    write_json(path, ["a"] * 5000)

    def read():
        while not done.is_set():
            seen.add(len(read_json(path)))

    reader = threading.Thread(target=read)
    reader.start()
    for count in (5000, 9000) * 20:
        write_json(path, ["a"] * count)
    done.set()
    reader.join()
    assert seen <= {5000, 9000}


@given(
    arrays(
        st.sampled_from([np.float16, np.float32, np.int64, np.bool_, np.uint8]), array_shapes(min_side=0, max_side=4)
    )
)
def test_arrays_come_back_as_they_were(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("arrays") / "array.npy"
    write_array(path, array)
    for mmap in (True, False):
        back = read_array(path, mmap)
        assert back.dtype == array.dtype
        assert np.array_equal(back, array, equal_nan=array.dtype.kind == "f")


def test_arrays_are_saved_in_one_order_and_mapped_for_reading_only(tmp_path):
    array = np.arange(6.0).reshape(2, 3)
    write_array(tmp_path / "rows.npy", array)
    write_array(tmp_path / "columns.npy", np.asfortranarray(array))
    assert (tmp_path / "rows.npy").read_bytes() == (tmp_path / "columns.npy").read_bytes()
    mapped = read_array(tmp_path / "rows.npy")
    assert isinstance(mapped, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        mapped[0, 0] = 1


@pytest.mark.parametrize("mmap", [True, False])
def test_pickles_are_not_opened(mmap, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "object.npy", np.array([Explodes()], dtype=object), allow_pickle=True)
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(Explodes()))
    for name in ("object.npy", "pickle.npy"):
        with pytest.raises(UserError, match=name):
            read_array(tmp_path / name, mmap)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("mmap", [True, False])
def test_what_is_no_array_is_refused_in_one_line(mmap, tmp_path):
    write_array(tmp_path / "whole.npy", np.arange(1000))
    np.savez(tmp_path / "archive", a=np.ones(3))
    contents = {
        "empty": b"",
        "cut": (tmp_path / "whole.npy").read_bytes()[:500],
        "text": b"hello",
        "archive": (tmp_path / "archive.npz").read_bytes(),
    }
    for name, content in contents.items():
        (tmp_path / f"{name}.npy").write_bytes(content)
    for name in (*contents, "missing"):
        with pytest.raises(UserError, match=f"{name}.npy: not a readable .npy array") as problem:
            read_array(tmp_path / f"{name}.npy", mmap)
        assert "\n" not in str(problem.value)


@pytest.mark.parametrize("name", ["table.parquet", "table.csv", "value.json"])
@pytest.mark.parametrize("content", [None, b"", b'"PAR1 broken', b"\xff\xfe\0{"])
def test_what_is_no_table_or_json_is_refused(name, content, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: not"):
        (read_json if name.endswith("json") else read_table)(tmp_path / name)


def test_a_parquet_table_comes_back_as_it_was_without_its_index(tmp_path):
    write_table(tmp_path / "table.parquet", TABLE.set_index(pd.Index(range(10, 17), name="row")))
    pd.testing.assert_frame_equal(read_table(tmp_path / "table.parquet"), TABLE)


def test_a_table_of_no_rows_keeps_its_columns(tmp_path):
    for name in ("table.parquet", "table.csv"):
        write_table(tmp_path / name, TABLE[:0])
        assert list(read_table(tmp_path / name).columns) == list(TABLE.columns)


def test_a_csv_table_keeps_texts_in_one_line_and_rounds_numbers(tmp_path):
    write_table(tmp_path / "table.csv", TABLE.assign(number=np.pi))
    back = read_table(tmp_path / "table.csv")
    assert back["text"].tolist() == ["line  break", "NA", "", "'=1+1", *TABLE["text"][4:]]
    assert (back["number"] == 3.142).all()
    assert b"\r" not in (tmp_path / "table.csv").read_bytes()


@pytest.mark.parametrize(
    "cell",
    [
        "=cmd|' /C calc'!A0", "+1+cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n =1", "\0=1", "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20A",
        "-0.1 [=1, 2]", "+", "-",
    ],
)  # fmt: skip
def test_no_cell_and_no_heading_of_a_csv_table_is_a_formula(cell, tmp_path):
    write_table(tmp_path / "t.csv", pd.DataFrame({cell: [cell, 1], "category": pd.Categorical([cell, ""])}))
    for row in csv.reader((tmp_path / "t.csv").read_text().splitlines()):
        assert all(some.startswith("'") for some in row if some not in ("1", "", "category"))


def test_numbers_in_a_csv_table_stay_numbers(tmp_path):
    figures = ["-0.5", "+1e-09", "-0.122 [-0.180, -0.071]"]
    table = pd.DataFrame({"text": figures, "number": [-0.5, -1e-9, np.nan], "count": [-1, 0, 2], "kept": True})
    write_table(tmp_path / "t.csv", table)
    assert "'" not in (tmp_path / "t.csv").read_text()
    assert read_table(tmp_path / "t.csv")["text"].tolist() == figures


@given(st.text())
def test_a_safe_cell_stays_as_it_is_and_loses_no_letter(text):
    once = safe_cell(text)
    assert safe_cell(once) == once and len(once.splitlines()) <= 1
    assert len(once) - len(text) in (0, 1) and once.endswith(text[-1:] if text.isprintable() else "")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), np.float32("nan"), -np.inf])
def test_json_holds_no_number_that_is_none(bad, tmp_path):
    for value in (bad, [bad], {"a": {"b": bad}}):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json(tmp_path / "value.json", value)
    assert os.listdir(tmp_path) == []


def test_json_keeps_the_order_of_keys_and_takes_the_numbers_of_numpy(tmp_path):
    value = {"b": np.float32(0.1), "a": np.int64(3), "c": (np.bool_(True), None, "ä", 1)}
    write_json(tmp_path / "value.json", value)
    text = (tmp_path / "value.json").read_text()
    assert list(json.loads(text)) == ["b", "a", "c"]
    assert read_json(tmp_path / "value.json") == {"b": 0.1, "a": 3, "c": [True, None, "ä", 1]}
    assert text.endswith("}\n")


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0.978947368, 0.9789), (-0.08870968, -0.0887), (1 / 3, 0.3333), (0.00123456, 0.0012), (0.000123456, 0.00012),
        (-1.5e-30, -1.5e-30), (1e-5, 1e-5), (1.23456, 1.235), (42.04624, 42.05), (9.99996, 10.0), (123.456, 123.5),
        (12345.678, 12346.0), (24000.0, 24000.0), (1e20, 1e20), (0.0, 0.0), (np.inf, np.inf),
    ],
)  # fmt: skip
def test_numbers_of_reports_keep_the_digits_that_mean_something(number, written, tmp_path):
    assert meaningful(number) == written
    write_table(tmp_path / "t.csv", pd.DataFrame({"number": [number]}))
    assert read_table(tmp_path / "t.csv")["number"].tolist() == pytest.approx([written], rel=1e-12)


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(FINITE | st.floats(-1, 1), st.floats(-1e-7, 1e-7))
def test_another_processor_changes_a_number_at_a_rounding_tie_only(number, change):
    before, after = meaningful(number), meaningful(number * (1 + change))
    assert before == after or number == pytest.approx((before + after) / 2, rel=3e-7)


@given(FINITE)
def test_rounding_once_is_enough(number):
    once = rounded({"a": [number]})["a"][0]
    assert once == pytest.approx(number, rel=0.05) and rounded(once) == once
    assert rounded([True, 123456789, "x", None]) == [True, 123456789, "x", None]
    assert rounded(number, float) == number


def test_files_of_another_processor_have_the_same_bytes(tmp_path):
    """Numbers that are no ties, and the same up to a ten-millionth."""
    numbers = np.concatenate(
        [np.arange(1, 1000) / 1000 + 3e-5, np.arange(1, 1000) + 0.03, np.arange(10, 99) * 1.003e-9]
    )
    written = []
    for name, factor in (("one", 1 + 1e-7), ("other", 1 - 1e-7)):
        write_table(tmp_path / f"{name}.csv", pd.DataFrame({"number": numbers * factor}))
        write_json(tmp_path / f"{name}.json", list(numbers * factor))
        written.append([(tmp_path / f"{name}{suffix}").read_bytes() for suffix in (".csv", ".json")])
    assert written[0] == written[1]


def test_exact_json_keeps_every_digit(tmp_path):
    write_json(tmp_path / "value.json", [0.26862954], exact=True)
    assert read_json(tmp_path / "value.json") == [0.26862954]
