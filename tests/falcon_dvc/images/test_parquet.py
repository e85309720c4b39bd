"""Parquet files of pictures: columns, ids, labels, memory, and damage."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.errors import UserError
from falcon_dvc.images import parquet
from falcon_dvc.images.listing import Listing, list_collection
from falcon_dvc.images.parquet import find_in_parquet
from falcon_dvc.images.source import open_collection
from tests.support.paths import ROOT
from tests.support.sample_images import coloured

LIST = """
import sys
from pathlib import Path
from falcon_dvc.images.listing import list_collection
from falcon_dvc.images.parquet import find_in_parquet
list_collection(find_in_parquet(Path(sys.argv[1])), "skip")
"""


def write(path: Path, columns: dict, rows: int = 2, **options) -> Path:
    """Write a table in row groups of `rows`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=rows, **options)
    return path


def structs(pictures: list[bytes | None]) -> pa.Array:
    return pa.array([{"bytes": content, "path": "../secret.png"} for content in pictures])


def reds(count: int) -> list[bytes]:
    return [coloured(red) for red in range(count)]


def listed(path: Path, unreadable="fail") -> Listing:
    return list_collection(find_in_parquet(path), unreadable)


def first_pixels(path: Path) -> list[int]:
    """The pictures in the order of the ids."""
    found = find_in_parquet(path)
    return [
        int(picture[0, 0, 0]) for picture in open_collection(found, sorted(found.ids)).load_many(range(len(found.ids)))
    ]


@pytest.mark.parametrize("name", ["image", "bytes", "jpg"])
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_a_column_of_bytes(tmp_path, name, kind):
    assert first_pixels(write(tmp_path / "a.parquet", {name: pa.array(reds(5), kind)})) == [0, 1, 2, 3, 4]


def test_a_column_of_structs_comes_before_others_and_its_paths_are_not_followed(tmp_path):
    (tmp_path / "secret.png").write_bytes(coloured(9))
    path = write(tmp_path / "t" / "a.parquet", {"jpg": [b"x"] * 3, "image": structs([coloured(1), None, coloured(3)])})
    listing = listed(path, "skip")
    assert listing.table["image"].tolist() == ["a.parquet:0", "a.parquet:2"]
    assert listing.skipped == ["a.parquet:1: no bytes in its row"]


def test_other_suffixes_are_read_and_other_formats_named(tmp_path):
    for number, name in enumerate(("a.parq", "b.PQ")):
        write(tmp_path / name, {"image": [coloured(number)]})
    for name in ("c.arrow", "d.feather", "e.parquet.gz", "f.zip", "g.json"):
        (tmp_path / name).touch()
    found = find_in_parquet(tmp_path)
    assert found.ids == ["a.parq:0", "b.PQ:0"]
    assert [name for names in found.unopened.values() for name in names] == [
        "c.arrow", "d.feather", "e.parquet.gz", "f.zip",
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"^data\.images: c\.arrow: Arrow is not read; save as parquet"):
        listed(tmp_path)


def test_a_struct_that_is_missing_is_named(tmp_path):
    column = pa.array([{"bytes": coloured(1)}, None])
    assert listed(write(tmp_path / "a.parquet", {"image": column}), "skip").skipped == [
        "a.parquet:1: no bytes in its row"
    ]


def test_ids_are_files_and_rows_in_the_order_of_the_rows(tmp_path):
    write(tmp_path / "b.parquet", {"image": structs(reds(12))})
    write(tmp_path / "a" / "c.parquet", {"image": structs(reds(2))})
    write(tmp_path / ".hidden.parquet", {"image": structs(reds(2))})
    table = listed(tmp_path).table
    rows = [f"b.parquet:{row:02}" for row in range(12)]
    assert table["image"].tolist() == ["a/c.parquet:0", "a/c.parquet:1", *rows]


@pytest.mark.parametrize("name", ["key", "image_id", "id"])
@pytest.mark.parametrize("values", [["b", "a", "é"], [30, 4, 5]])
def test_keys_are_ids_and_their_bytes_give_the_order(tmp_path, name, values):
    path = write(tmp_path / "a.parquet", {name: values, "image": structs(reds(3))})
    table = listed(path).table
    assert table["image"].tolist() == sorted(map(str, values), key=str.encode)
    assert first_pixels(path) == [values.index(value) for value in sorted(values, key=str)]


@pytest.mark.parametrize("values", [["a", "a"], ["a", None], ["a", ""], [1.5, 2.5], [[1], [2]]])
def test_keys_that_are_no_names_or_not_different_are_passed_over(tmp_path, values):
    path = write(tmp_path / "a.parquet", {"key": values, "image": structs(reds(2))})
    assert find_in_parquet(path).ids == ["a.parquet:0", "a.parquet:1"]


def test_text_that_is_not_unicode_is_damage(tmp_path):
    write(tmp_path / "a.parquet", {"key": pa.array([b"\xff"]).view(pa.string()), "image": structs(reds(1))})
    write(tmp_path / "b.parquet", {"key": ["b"], "image": structs(reds(1))})
    listing = listed(tmp_path, "skip")
    assert listing.table["image"].tolist() == ["b"]
    assert len(listing.skipped) == 1 and listing.skipped[0].startswith("a.parquet: cannot be read (")


def test_keys_must_differ_over_all_files(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.parquet", {"key": ["x"], "image": structs(reds(1))})
    assert find_in_parquet(tmp_path).ids == ["a.parquet:0", "b.parquet:0"]
    write(tmp_path / "b.parquet", {"key": ["y"], "image": structs(reds(1))})
    assert find_in_parquet(tmp_path).ids == ["x", "y"]


def test_labels(tmp_path):
    path = write(tmp_path / "a.parquet", {"label": ["bus", None, "é"], "image": structs(reds(3))})
    assert listed(path).table["label"].tolist() == ["bus", "", "é"]
    assert find_in_parquet(write(path, {"label": [[1]], "image": structs(reds(1))})).labels == [""]
    column = pa.array(["cat", "dog", "cat"]).dictionary_encode()
    assert find_in_parquet(write(path, {"label": column, "image": structs(reds(3))})).labels == ["cat", "dog", "cat"]


@pytest.mark.parametrize(
    ("label", "labels"),
    [
        ({"names": ["cat", "dog"], "_type": "ClassLabel"}, ["dog", "cat", "2", "-1"]),
        ({"dtype": "int64", "_type": "Value"}, ["1", "0", "2", "-1"]),
        ({"names": [1, 2]}, ["1", "0", "2", "-1"]),
        ([], ["1", "0", "2", "-1"]),
    ],
)
def test_numbers_are_named_where_the_file_says_how(tmp_path, label, labels):
    table = pa.table({"label": [1, 0, 2, -1], "image": structs(reds(4))})
    described = {"huggingface": json.dumps({"info": {"features": {"label": label}}})}
    pq.write_table(table.replace_schema_metadata(described), tmp_path / "a.parquet")
    assert find_in_parquet(tmp_path / "a.parquet").labels == labels


def test_the_rows_of_a_group_share_a_read(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", {"image": structs(reds(40))}, rows=4)
    read = []
    real = parquet._read_group
    monkeypatch.setattr(parquet, "_read_group", lambda file, group: (read.append(group), real(file, group))[1])
    assert first_pixels(path) == list(range(40))
    # A thread that falls behind reads its group again; forty reads would mean that none is kept.
    assert set(read) == set(range(10)) and len(read) < 20


def test_neighbours_share_a_read_whatever_the_order_asked_for(tmp_path, monkeypatch):
    found = find_in_parquet(write(tmp_path / "a.parquet", {"image": structs(reds(40))}, rows=4))
    read = []
    real = parquet._read_group
    monkeypatch.setattr(parquet, "_read_group", lambda file, group: (read.append(group), real(file, group))[1])
    rows = np.random.default_rng(0).permutation(40).tolist()
    shown = open_collection(found, found.ids).load_many(rows, workers=1)
    assert [int(picture[0, 0, 0]) for picture in shown] == rows
    assert len(read) == 10


def test_row_groups_that_do_not_fit_are_refused_with_the_fix(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "MAX_GROUP_BYTES", 300)
    with pytest.raises(UserError, match=r"row group 0 has \d+ bytes, more than 300; .*row_group_size"):
        find_in_parquet(write(tmp_path / "a.parquet", {"image": structs(reds(40))}, rows=40))


def test_a_dictionary_cannot_make_much_of_little(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "MAX_GROUP_BYTES", 3000)
    path = write(tmp_path / "a.parquet", {"image": [coloured(1)] * 5000}, rows=5000, use_dictionary=True)
    listing_error = r"none of the 5000 images .*its row group holds more than 3000 bytes"
    with pytest.raises(UserError, match=listing_error):
        listed(path, "skip")


def test_too_many_rows_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "MAX_ROWS", 3)
    with pytest.raises(UserError, match="more than 3 rows"):
        find_in_parquet(write(tmp_path / "a.parquet", {"image": structs(reds(4))}))


def test_a_damaged_row_group_costs_its_rows_only(tmp_path):
    noise = [np.random.default_rng(row).bytes(300) for row in range(2)]
    path = write(tmp_path / "a.parquet", {"image": [*noise, *reds(4)[2:]]}, compression="snappy", use_dictionary=False)
    content = bytearray(path.read_bytes())
    start = content.index(noise[0][50:80])
    content[start - 100 : start + 300] = bytes(400)
    path.write_bytes(bytes(content))
    listing = listed(path, "skip")
    assert listing.table["image"].tolist() == ["a.parquet:2", "a.parquet:3"]
    assert [line.split(": ")[0] for line in listing.skipped] == ["a.parquet:0", "a.parquet:1"]


def test_damaged_metadata_of_a_column_do_not_end_the_process(tmp_path):
    """In a process of its own, because pyarrow aborts where it is asked for such metadata (26.0)."""
    path = write(tmp_path / "a.parquet", {"image": structs(reds(1))})
    optional, required = (b"\x25" + kind + b"\x18\x05bytes" for kind in (b"\x02", b"\x00"))
    content = path.read_bytes()
    assert content.count(optional) == 1
    path.write_bytes(content.replace(optional, required))
    ended = subprocess.run([sys.executable, "-c", LIST, path], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode in (0, 1) and "terminate" not in ended.stderr
    assert ended.returncode == 0 or ended.stderr.splitlines()[-1].startswith("falcon_dvc.errors.UserError")


@pytest.mark.parametrize("content", [b"", b"no table", b"PAR1" * 10])
def test_a_file_that_is_no_table_is_named_and_left_out(tmp_path, content):
    write(tmp_path / "b.parquet", {"image": structs(reds(1))})
    (tmp_path / "a.parquet").write_bytes(content)
    listing = listed(tmp_path, "skip")
    assert listing.table["image"].tolist() == ["b.parquet:0"]
    assert len(listing.skipped) == 1 and listing.skipped[0].startswith("a.parquet: cannot be read (")
    with pytest.raises(UserError, match=r"data\.images: a\.parquet: cannot be read .*data\.unreadable"):
        listed(tmp_path)
    (tmp_path / "b.parquet").unlink()
    with pytest.raises(UserError, match=r"^data\.images: no rows in the parquet files of [^\n]*a\.parquet[^\n]*$"):
        listed(tmp_path, "skip")


@pytest.mark.parametrize(
    "columns",
    [{"picture": [b"x"]}, {"image": ["a.png"]}, {"image": [{"path": "a.png"}]}, {"image": [[1, 2]]}, {"a\nb": [1]}],
)
def test_a_table_without_pictures_is_refused(tmp_path, columns):
    with pytest.raises(UserError, match=r"^data\.images: [^\n]*no column of encoded pictures[^\n]*$"):
        find_in_parquet(write(tmp_path / "a.parquet", columns))


@given(keys=st.lists(st.text(max_size=8) | st.none(), min_size=1, max_size=9), rows=st.integers(1, 4))
def test_every_picture_comes_back_under_its_id(tmp_path_factory, keys, rows):
    path = tmp_path_factory.mktemp("any") / "a.parquet"
    write(path, {"key": pa.array(keys, pa.string()), "image": structs(reds(len(keys)))}, rows)
    found = find_in_parquet(path)
    usable = all(keys) and len(set(keys)) == len(keys)
    assert found.ids == (keys if usable else [f"a.parquet:{row}" for row in range(len(keys))])
    table = list_collection(found, "fail").table
    shown = open_collection(found, table["image"].tolist()).load_many(range(len(table)))
    assert [found.ids[int(picture[0, 0, 0])] for picture in shown] == table["image"].tolist()


@given(content=st.binary(min_size=1, max_size=40), place=st.integers(0, 3000))
def test_any_damage_is_a_line(tmp_path_factory, content, place):
    path = write(tmp_path_factory.mktemp("any") / "a.parquet", {"image": structs(reds(4)), "label": [1, 2, 3, 4]})
    whole = path.read_bytes()
    path.write_bytes(whole[: place % len(whole)] + content + whole[place % len(whole) + len(content) :])
    try:
        listing = listed(path, "skip")
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert all("\n" not in line for line in listing.skipped)
