"""Images of folders: their ids and labels, and one clear reason for every file that is left out."""

import os

import numpy as np
import pytest
from PIL import Image

from falcon_dvc.errors import UserError
from falcon_dvc.images.listing import Collection, list_images
from falcon_dvc.images.passed_over import MISNAMED
from tests.support.picture_files import picture, save


def test_ids_are_relative_paths_in_byte_order_with_the_first_folder_as_label(tmp_path):
    for name in ("b/2.png", "b/deep/1.PNG", "a/1.jpg", "Z.jpeg", "a.bmp", "é/1.webp", "a/1.tiff", "b.GIF"):
        picture(tmp_path / name)
    listing = list_images(tmp_path, "fail")
    assert listing.table["image"].tolist() == [
        "Z.jpeg", "a.bmp", "a/1.jpg", "a/1.tiff", "b.GIF", "b/2.png", "b/deep/1.PNG", "é/1.webp",
    ]  # fmt: skip
    assert listing.table["label"].tolist() == ["", "", "a", "a", "", "b", "b", "é"]
    assert listing.table[["width", "height"]].drop_duplicates().to_numpy().tolist() == [[4, 3]]
    assert listing.skipped == []


def test_hidden_files_and_other_suffixes_are_passed_over(tmp_path):
    picture(tmp_path / "good.png")
    picture(tmp_path / ".hidden.png")
    picture(tmp_path / ".git" / "1.png")
    (tmp_path / "notes.txt").write_text("no image")
    assert list_images(tmp_path, "fail").table["image"].tolist() == ["good.png"]


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        (".jfif", "JPEG"), (".jpe", "JPEG"), (".JIF", "JPEG"), (".pjpeg", "JPEG"), (".mpo", "MPO"), (".apng", "PNG"),
        (".avif", "AVIF"), (".jp2", "JPEG2000"), (".J2K", "JPEG2000"), (".dib", "DIB"), (".ppm", "PPM"), (".Tif", "TIFF"),
        ("", "JPEG"), ("", "PNG"), ("", "AVIF"), (".05", "WEBP"),
    ],
)  # fmt: skip
def test_other_suffixes_and_none_are_read(tmp_path, suffix, kind):
    picture(tmp_path / f"22{suffix}", format=kind)
    listing = list_images(tmp_path, "fail")
    assert listing.table["image"].tolist() == [f"22{suffix}"] and not listing.passed_over


def test_pictures_under_names_of_other_files_are_named_and_not_read(tmp_path):
    for name in ("good.png", "a.jpg_large", "b.png.1", "c.bak"):
        picture(tmp_path / name, format="PNG")
    for name in ("README", "notes.dat", "labels.csv"):
        (tmp_path / name).write_text("BMP, GIF89a: words")
    listing = list_images(tmp_path, "skip")
    assert listing.table["image"].tolist() == ["b.png.1", "good.png"]
    assert listing.passed_over == {MISNAMED: ["a.jpg_large", "c.bak"]}


def test_links_and_pipes_without_a_suffix_are_not_opened(tmp_path):
    picture(tmp_path / "elsewhere" / "secret", format="PNG")
    picture(tmp_path / "mine" / "good.png")
    (tmp_path / "mine" / "link").symlink_to("../elsewhere/secret")
    os.mkfifo(tmp_path / "mine" / "pipe")
    assert list_images(tmp_path / "mine", "fail").table["image"].tolist() == ["good.png"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a.HEIC", "b.heic"], r"\(2 files \(a\.HEIC, b\.heic\): HEIF is not read; save as JPEG or PNG\)"),
        (["a.svg"], r"\(a\.svg: SVG is not read"),
        (["a.tar"], r"\(a\.tar: archives are not opened; unpack them, or set data\.source to webdataset"),
        (["a.txt"], r"\(looked for .*\.avif .*\.jfif"),
    ],
)
def test_a_folder_without_readable_pictures_says_what_it_holds(tmp_path, names, words):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(
        UserError, match=rf"^data\.images: no images under .* {words}.*; point data\.images at a folder"
    ):
        list_images(tmp_path, "skip")


@pytest.fixture
def damaged(tmp_path):
    """One good picture among bad ones."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    save(tmp_path / "good.png", noise)
    content = save(tmp_path / "truncated.jpg", noise, quality=95).read_bytes()
    (tmp_path / "truncated.jpg").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("<html>not found</html>")
    (tmp_path / "script.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n")
    return tmp_path


def test_damaged_files_are_skipped_and_named(damaged):
    listing = list_images(damaged, "skip")
    assert listing.table["image"].tolist() == ["good.png"]
    assert [line.split(":")[0] for line in listing.skipped] == ["empty.jpg", "script.jpg", "text.png", "truncated.jpg"]
    assert all("\n" not in line for line in listing.skipped)


def test_damaged_files_stop_the_run_when_asked(damaged):
    with pytest.raises(UserError, match=r"data\.images: empty\.jpg: .*data\.unreadable"):
        list_images(damaged, "fail")


def test_links_out_of_the_folder_and_pipes_are_refused(tmp_path):
    picture(tmp_path / "elsewhere" / "secret.png")
    picture(tmp_path / "mine" / "good.png")
    (tmp_path / "mine" / "inside.png").symlink_to("good.png")
    (tmp_path / "mine" / "outside.png").symlink_to("../elsewhere/secret.png")
    (tmp_path / "mine" / "broken.png").symlink_to("nothing.png")
    (tmp_path / "mine" / "folder").symlink_to("../elsewhere")
    (tmp_path / "mine" / "loop.png").symlink_to("loop.png")
    os.mkfifo(tmp_path / "mine" / "pipe.png")
    listing = list_images(tmp_path / "mine", "skip")
    assert listing.table["image"].tolist() == ["good.png", "inside.png"]
    assert listing.skipped == [
        "broken.png: not a regular file",
        "folder: a linked folder",
        "loop.png: not a regular file",
        "outside.png: leads out of the folder",
        "pipe.png: not a regular file",
    ]


def test_a_linked_root_is_the_users_choice(tmp_path):
    picture(tmp_path / "real" / "1.png")
    (tmp_path / "link").symlink_to("real")
    assert len(list_images(tmp_path / "link", "fail").table) == 1


def test_names_that_are_not_unicode_or_break_the_line(tmp_path):
    picture(tmp_path / "good.png")
    picture(tmp_path / "two\nlines.png")
    try:
        (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes only Unicode names")
    listing = list_images(tmp_path, "skip")
    assert listing.table["image"].tolist() == ["good.png", "two\nlines.png"]
    assert listing.skipped == ["\\udcff.png: its name is not UTF-8"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "there is no folder"),
        (lambda path: path.write_bytes(b""), "is a file"),
        (lambda path: path.mkdir(), "no images under"),
        (lambda path: (path.mkdir(), (path / "a.txt").write_text("a")), "no images under"),
        (lambda path: (path.mkdir(), (path / "a.jpg").write_text("a")), "none of the 1 images"),
    ],
)
def test_a_useless_folder_gets_one_clear_line(tmp_path, make, message):
    make(tmp_path / "images")
    with pytest.raises(
        UserError, match=rf"data\.images: .*{message}[^\n]*; point data\.images[^\n]*$|data\.images: {message}"
    ):
        list_images(tmp_path / "images", "skip")


def test_an_id_stands_for_one_picture():
    with pytest.raises(UserError, match=r"x has a twice"):
        Collection("x", ["a", "b", "a"], [""] * 3, lambda row: Image.new("RGB", (1, 1)))
