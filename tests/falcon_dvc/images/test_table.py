"""Tables of images: what they may say, what they may not reach, and one line for what is wrong with them."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from falcon_dvc.errors import UserError
from falcon_dvc.images.listing import list_collection
from falcon_dvc.images.source import open_collection
from falcon_dvc.images.table import find_in_table
from tests.support.sample_images import coloured


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two pictures in the folder, one beside it."""
    for name, red in (("mine/a.png", 1), ("mine/deep/b.png", 2), ("secret.png", 3), ("mine 2/c.png", 4)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(coloured(red))
    return tmp_path / "mine"


def write(folder: Path, text: str, name: str = "list.csv") -> str:
    (folder / name).write_text(text, encoding="utf-8", newline="")
    return name


def test_labels_and_splits_come_from_the_table(folder):
    table = write(folder, 'split,image,label,other\r\ntest,deep/b.png,"bus, red",x\r\n\r\nprobe,a.png,,y\r\n')
    listing = list_collection(find_in_table(folder, table), "fail")
    assert listing.table[["image", "label", "split"]].to_numpy().tolist() == [
        ["a.png", "", "probe"], ["deep/b.png", "bus, red", "test"],
    ]  # fmt: skip


def test_without_those_columns_there_is_no_label_and_no_split(folder):
    listing = list_collection(find_in_table(folder, write(folder, "image\na.png")), "fail")
    assert listing.table["label"].tolist() == [""] and "split" not in listing.table


def test_a_tsv_is_divided_at_tabs_and_a_byte_order_mark_is_dropped(folder):
    table = write(folder, "\ufeffimage\tlabel\na.png\tred, bright\n", "list.TSV")
    assert find_in_table(folder, table).labels == ["red, bright"]


def test_missing_pictures_and_those_outside_are_named_and_left_out(folder):
    (folder / "out.png").symlink_to("../secret.png")
    (folder / "beside.png").symlink_to("../mine 2/c.png")
    (folder / "loop.png").symlink_to("loop.png")
    bad = ["out.png", "beside.png", "loop.png", "gone.png", "deep", "", ".", "../secret.png", "deep/../a.png"]
    bad += [str(folder / "a.png"), "a\0.png", "x" * 300, "../mine 2/c.png", "list.csv"]
    rows = "".join(f'"{name}",x\n' for name in ["a.png", *bad])
    listing = list_collection(find_in_table(folder, write(folder, "image,label\n" + rows)), "skip")
    assert listing.table["image"].tolist() == ["a.png"]
    assert len(listing.skipped) == len(bad)
    assert all("\n" not in line and "\0" not in line for line in listing.skipped)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no column image .*it has: none"),
        ("path\na.png\n", "has no column image .*it has: path"),
        ("image\n", "names no images"),
        ("image\na.png\na.png\n", "a.png twice"),
        ("image,image\na.png,b.png\n", "two columns of one name"),
        ("image,split\na.png,train\n", "line 2: the split is 'train'; write probe"),
        ("image,split\na.png,\n", "line 2: the split is ''"),
        ("image,label\na.png\n", "line 2: 1 fields under 2 columns"),
        ("image,label\na.png,red, bright\n", "line 2: 3 fields under 2 columns"),
        ('image\n"a.png\n', "no readable table"),
        ("image\n" + "x" * 200_000, "no readable table"),
    ],
)
def test_a_useless_table_gets_one_line(folder, text, words):
    table = write(folder, text)
    with pytest.raises(UserError, match=rf"^data\.(list|images): [^\n]*list\.csv[^\n]*{words}[^\n]*$"):
        find_in_table(folder, table)


def test_a_table_in_another_encoding_is_refused(folder):
    (folder / "list.csv").write_bytes("image\né.png\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"no readable table .*UTF-8"):
        find_in_table(folder, "list.csv")


@pytest.mark.parametrize("table", ["../list.csv", "/etc/passwd", "link.csv"])
def test_the_table_lies_in_the_folder(folder, table):
    write(folder.parent, "image\na.png\n")
    (folder / "link.csv").symlink_to("../list.csv")
    with pytest.raises(UserError, match=r"data\.list: .*leads out of the folder"):
        find_in_table(folder, table)


@pytest.mark.parametrize("table", ["gone.csv", "deep", "x" * 300, "a\0b"])
def test_a_table_that_is_no_file_is_named(folder, table):
    with pytest.raises(UserError, match=r"^data\.list: [^\n]*$"):
        find_in_table(folder, table)


PARTS = st.sampled_from(
    ["..", ".", "", "a.png", "deep", "b.png", "mine", "mine 2", "secret.png", "c.png", "up", "down"]
)
NAMES = st.lists(PARTS, min_size=1, max_size=6).map("/".join) | st.text(max_size=20)


@given(name=NAMES)
@example("up/secret.png")
@example("down/../../secret.png")
def test_no_name_reaches_a_picture_outside(tmp_path_factory, name):
    root = tmp_path_factory.mktemp("root")
    for file, red in (("mine/a.png", 1), ("mine/deep/b.png", 2), ("secret.png", 3), ("mine 2/c.png", 4)):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(coloured(red))
    (root / "mine" / "up").symlink_to("..")
    (root / "mine" / "down").symlink_to("deep")
    table = write(root / "mine", 'image\na.png\n"' + name.replace('"', '""') + '"\n')
    try:
        found = find_in_table(root / "mine", table)
    except UserError:
        return  # the same picture again, or text that is no table
    listing = list_collection(found, "skip")
    shown = open_collection(found, listing.table["image"].tolist()).load_many(range(len(listing.table)))
    assert {int(picture[0, 0, 0]) for picture in shown} <= {1, 2}
