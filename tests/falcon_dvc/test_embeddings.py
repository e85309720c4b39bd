"""Embeddings that come with captions: read in place, as unit rows, whatever the files' number and type; bad files are one line."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from falcon_dvc.embeddings import RowsElsewhere, UnitRows, caption_ids, open_embeddings, unit_rows
from falcon_dvc.errors import UserError


def some_rows(seed=0, rows=9, dim=4, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(dtype)


@settings(deadline=None)
@given(st.integers(0, 99), st.lists(st.integers(0, 5), min_size=1, max_size=4), st.data())
def test_several_arrays_read_as_one(seed, sizes, data):
    whole = some_rows(seed, sum(sizes), dtype=np.float16)
    arrays = np.split(whole, np.cumsum(sizes)[:-1])
    rows = np.array(data.draw(st.lists(st.integers(0, len(whole) - 1), unique=True)) if len(whole) else [], dtype=int)
    wanted = UnitRows(arrays, rows)
    expected = unit_rows(whole[rows])[0]
    assert wanted.shape == expected.shape
    assert np.array_equal(wanted[:], expected)
    assert np.array_equal(wanted[1:3], expected[1:3])
    assert np.array_equal(wanted[np.arange(len(rows))[::-2]], expected[::-2])


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1.0, 1e25])
def test_rows_of_any_length_come_as_unit_rows_in_single_precision(scale):
    rows = (some_rows() * scale).astype(np.float32)
    found, usable = unit_rows(rows)
    assert usable.all() and found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found.astype(float), axis=1), 1, atol=1e-6)
    assert np.allclose(found, unit_rows(some_rows())[0], atol=1e-5)


@pytest.mark.filterwarnings("error")
def test_rows_without_a_direction_are_told_apart_and_come_as_zeros():
    rows = some_rows(rows=5)
    rows[1], rows[2, 0], rows[4, 3] = 0, np.nan, np.inf
    found, usable = unit_rows(rows)
    assert usable.tolist() == [True, False, False, True, False]
    assert np.array_equal(found[~usable], np.zeros((3, 4)))
    assert np.array_equal(found[usable], unit_rows(rows[[0, 3]])[0])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ">f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_files_of_any_order_read_the_same(tmp_path, dtype, order):
    rows = some_rows(dtype=np.float16)
    np.save(tmp_path / "e.npy", np.array(rows, dtype=dtype, order=order))
    array = open_embeddings(tmp_path / "e.npy")
    assert isinstance(array, np.memmap)
    assert np.array_equal(UnitRows([array])[:], unit_rows(rows)[0])


@pytest.mark.parametrize("name", ["embeddings", "anything"])
def test_safetensors_are_mapped_in_place(tmp_path, name):
    rows = some_rows(dtype=np.float16)
    save_file({name: rows, "ids": np.arange(9)[::-1].copy()}, tmp_path / "e.safetensors")
    array = open_embeddings(tmp_path / "e.safetensors")
    assert isinstance(array, np.memmap) and np.array_equal(array, rows)
    assert caption_ids(tmp_path / "e.safetensors").tolist() == list(range(9))[::-1]


def test_embeddings_without_ids_are_in_the_order_of_the_table(tmp_path):
    np.save(tmp_path / "e.npy", some_rows())
    save_file({"e": some_rows()}, tmp_path / "e.safetensors")
    assert caption_ids(tmp_path / "e.npy") is None
    assert caption_ids(tmp_path / "e.safetensors") is None


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.arange(8), r"9 embeddings, but ids of shape \(8,\)"),
        (np.arange(9.0), "float64"),
        (np.repeat(3, 9), "twice"),
        (np.array(["a"] * 9, dtype=object), "not readable"),
    ],
)
def test_ids_that_do_not_fit_are_one_clear_line(tmp_path, ids, message):
    np.save(tmp_path / "e.npy", some_rows())
    np.save(tmp_path / "e.ids.npy", ids, allow_pickle=True)
    with pytest.raises(UserError, match=rf"^[^\n]*e\.npy: [^\n]*{message}[^\n]*$"):
        caption_ids(tmp_path / "e.npy")


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(4, dtype=np.float32), r"shape \(4,\)"),
        (np.zeros((4, 0), dtype=np.float32), r"shape \(4, 0\)"),
        (np.zeros((4, 2), dtype=np.int8), "int8"),
        (np.zeros((4, 2)), "float64"),
        (np.array([["a", None]], dtype=object), "not a readable"),
    ],
)
def test_arrays_that_are_no_embeddings_are_one_clear_line(tmp_path, array, message):
    np.save(tmp_path / "e.npy", array, allow_pickle=True)
    with pytest.raises(UserError, match=rf"^[^\n]*e\.npy: [^\n]*{message}[^\n]*float16 or float32[^\n]*$"):
        open_embeddings(tmp_path / "e.npy")


@pytest.mark.parametrize("suffix", ["npy", "safetensors"])
def test_files_cut_short_missing_or_of_another_kind_are_one_clear_line(tmp_path, suffix):
    path = tmp_path / f"e.{suffix}"
    with pytest.raises(UserError, match="not a readable file of embeddings"):
        open_embeddings(path)
    if suffix == "npy":
        np.save(path, some_rows())
    else:
        save_file({"e": some_rows()}, path)
    cut_short(path)
    with pytest.raises(UserError, match="not a readable file of embeddings"):
        open_embeddings(path)
    path.write_bytes(b"PK\x03\x04 an archive")
    with pytest.raises(UserError, match="not a readable file of embeddings"):
        open_embeddings(path)
    with pytest.raises(UserError, match="not a file of embeddings"):
        open_embeddings(tmp_path / "e.pt")


def test_safetensors_with_several_arrays_or_another_type_are_one_clear_line(tmp_path):
    save_file({"a": some_rows(), "b": some_rows()}, tmp_path / "two.safetensors")
    save_file({"a": some_rows(dtype=np.float64)}, tmp_path / "double.safetensors")
    with pytest.raises(UserError, match="2 have two dimensions"):
        open_embeddings(tmp_path / "two.safetensors")
    with pytest.raises(UserError, match="type F64"):
        open_embeddings(tmp_path / "double.safetensors")


def arrived(rows):
    """As in another process: what travelled, and the rows that are read of it there."""
    function, arguments = rows.__reduce__()
    return arguments, function(*arguments).read()


@settings(deadline=None)
@given(st.integers(0, 99), st.lists(st.integers(0, 5), min_size=1, max_size=4), st.data())
def test_another_process_reads_the_same_rows_from_the_same_files(tmp_path_factory, seed, sizes, data):
    folder = tmp_path_factory.mktemp("parts")
    whole = some_rows(seed, sum(sizes), dtype=np.float16)
    for number, part in enumerate(np.split(whole, np.cumsum(sizes)[:-1])):
        np.save(folder / f"{number}.npy", part)
    arrays = [
        open_embeddings(folder / f"{number}.npy") if count else np.empty((0, 4)) for number, count in enumerate(sizes)
    ]
    rows = np.array(data.draw(st.lists(st.integers(0, len(whole) - 1), unique=True)) if len(whole) else [], dtype=int)
    start = data.draw(st.integers(0, len(whole)))
    places = slice(start, data.draw(st.integers(start, len(whole) + 2)))
    for embeddings in (UnitRows(arrays, rows), arrays[0]):
        elsewhere = RowsElsewhere(embeddings, places)
        assert np.array_equal(elsewhere.read(), embeddings[places])
        assert np.array_equal(arrived(elsewhere)[1], embeddings[places])


@pytest.mark.parametrize("suffix", ["npy", "safetensors"])
def test_names_of_files_travel_and_of_these_only_what_is_needed(tmp_path, suffix):
    for number in range(3):
        path = tmp_path / f"{number}.{suffix}"
        np.save(path, some_rows(number)) if suffix == "npy" else save_file({"embeddings": some_rows(number)}, path)
    arrays = [open_embeddings(tmp_path / f"{number}.{suffix}") for number in range(3)]
    travelled, found = arrived(RowsElsewhere(UnitRows(arrays), slice(10, 13)))
    assert str(travelled).count(str(tmp_path)) == 1 and np.array_equal(found, unit_rows(some_rows(1)[1:4])[0])
    travelled, found = arrived(RowsElsewhere(arrays[2], slice(4, 6)))
    assert not any(isinstance(part, np.ndarray) for part in travelled[0]) and np.array_equal(found, some_rows(2)[4:6])


def test_a_view_and_an_array_in_memory_travel_themselves(tmp_path):
    np.save(tmp_path / "a.npy", some_rows())
    view = open_embeddings(tmp_path / "a.npy")[3:]
    for array in (view, some_rows()[3:]):
        assert np.array_equal(arrived(RowsElsewhere(array, slice(1, 3)))[1], some_rows()[4:6])
