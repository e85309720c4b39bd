"""Images from folders and packs: every mode becomes upright uint8 RGB, every bad file one clear reason."""

import os
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from falcon_dvc.artifacts.formats import write_array, write_table
from falcon_dvc.errors import UserError
from falcon_dvc.images import decode
from falcon_dvc.images.decode import cut, resized
from falcon_dvc.images.listing import Collection, list_images
from falcon_dvc.images.packed import PackedImages
from falcon_dvc.images.source import FolderImages, open_collection

RED, GREEN, WHITE = (255, 0, 0), (0, 128, 0), (255, 255, 255)


def save(path: Path, image: Image.Image, **options) -> Path:
    """Save a picture, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def picture(path: Path, size: tuple[int, int] = (4, 3), colour=RED, mode: str = "RGB", **options) -> Path:
    """Save a picture of one colour."""
    return save(path, Image.new(mode, size, colour), **options)


def loaded(path: Path) -> np.ndarray:
    """Load the one picture of a folder, whose size and type must be as listed."""
    table = list_images(path.parent, "fail").table
    array = FolderImages(path.parent, table["image"].tolist()).load(0)
    assert array.dtype == np.uint8
    assert array.shape == (table["height"][0], table["width"][0], 3)
    return array


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


def test_the_content_decides_not_the_suffix(tmp_path):
    path = picture(tmp_path / "png.jpg", format="PNG")
    assert (loaded(path) == RED).all()


def test_too_many_pixels_are_refused_before_decoding(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "MAX_PIXELS", 100)
    picture(tmp_path / "good.png", (10, 10))
    picture(tmp_path / "huge.png", (10, 11))
    assert list_images(tmp_path, "skip").skipped == ["huge.png: more than 100 pixels"]


def test_the_decoders_own_wall_against_bombs_is_a_line_too(tmp_path):
    picture(tmp_path / "good.png")
    header = b"\x00\x00\x00\rIHDR" + (100_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    content = b"\x89PNG\r\n\x1a\n" + header + zlib.crc32(header[4:]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(content + b"\x00\x00\x00\x00IDAT" + zlib.crc32(b"IDAT").to_bytes(4, "big"))
    (line,) = list_images(tmp_path, "skip").skipped
    assert line.startswith("bomb.png: ") and "limit" in line


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


def test_one_pixel(tmp_path):
    assert loaded(picture(tmp_path / "1.png", (1, 1))).tolist() == [[list(RED)]]


def test_cmyk_and_grey_and_palette_and_bilevel_become_rgb(tmp_path):
    assert (
        np.abs(loaded(picture(tmp_path / "c" / "1.jpg", (8, 8), (0, 255, 255, 0), "CMYK")).astype(int) - RED).max() < 12
    )
    assert (loaded(picture(tmp_path / "l" / "1.png", colour=77, mode="L")) == 77).all()
    palette = Image.new("RGB", (4, 3), GREEN).quantize(4)
    assert (loaded(save(tmp_path / "p" / "1.png", palette)) == GREEN).all()
    assert (loaded(picture(tmp_path / "1" / "1.png", colour=1, mode="1")) == 255).all()


def test_sixteen_bits_keep_their_range(tmp_path):
    ramp = np.array([[0, 256, 32768, 65535]], dtype=np.uint16)
    assert loaded(save(tmp_path / "1.png", Image.fromarray(ramp)))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_floats_are_scaled_from_their_range_and_nan_is_not_fatal(tmp_path):
    ramp = np.array([[0.0, 0.5, 1.0, np.nan]], dtype=np.float32)
    assert loaded(save(tmp_path / "f" / "1.tiff", Image.fromarray(ramp)))[0, :, 0].tolist() == [0, 128, 255, 0]
    assert (loaded(picture(tmp_path / "c" / "1.tiff", colour=7.0, mode="F")) == 0).all()


def test_transparency_becomes_white(tmp_path):
    assert (loaded(picture(tmp_path / "a" / "1.png", colour=(*RED, 0), mode="RGBA")) == WHITE).all()
    assert (loaded(picture(tmp_path / "l" / "1.png", colour=(9, 255), mode="LA")) == 9).all()
    palette = Image.new("P", (4, 3), 1)
    palette.putpalette([*GREEN, *RED])
    assert (loaded(save(tmp_path / "p" / "1.png", palette, transparency=1)) == WHITE).all()


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_of_an_animation_the_first_frame_counts(tmp_path, suffix):
    frames = [Image.new("RGB", (4, 3), colour) for colour in (RED, GREEN)]
    path = save(tmp_path / f"1.{suffix}", frames[0], save_all=True, append_images=frames[1:], lossless=True)
    assert np.abs(loaded(path).astype(int) - RED).max() <= 1


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation, suffix):
    upright = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    inverse = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}.get(
        orientation, decode.ORIENTATIONS.get(orientation)
    )
    stored = Image.fromarray(upright)
    stored = stored if inverse is None else stored.transpose(inverse)
    exif = Image.Exif()
    exif[decode.ORIENTATION_TAG] = orientation
    np.testing.assert_array_equal(loaded(save(tmp_path / f"1.{suffix}", stored, exif=exif)), upright)


def test_many_images_come_in_the_order_asked_for_with_any_number_of_threads(tmp_path):
    for value in range(10):
        picture(tmp_path / f"{value}.png", colour=(value, 0, 0))
    source = FolderImages(tmp_path, [f"{value}.png" for value in range(10)])
    rows = [3, 0, 9, 3]
    assert len(source) == 10
    assert [int(image[0, 0, 0]) for image in source.load_many(rows, 1)] == rows
    assert [int(image[0, 0, 0]) for image in source.load_many(rows, 4)] == rows


def test_ids_cannot_lead_out_of_the_folder_and_lost_files_are_named(tmp_path):
    picture(tmp_path / "secret.png")
    picture(tmp_path / "images" / "1.png")
    source = FolderImages(tmp_path / "images", ["../secret.png", str(tmp_path / "secret.png"), "gone.png"])
    for row in range(3):
        with pytest.raises(UserError, match=r"data\.images: .*dvc repro"):
            source.load(row)


@pytest.fixture
def packed(tmp_path):
    """A rendered world of five images."""
    write_array(tmp_path / "images.npy", np.arange(5 * 12, dtype=np.uint8).reshape(5, 2, 2, 3))
    write_table(tmp_path / "attributes.parquet", pd.DataFrame({"image": list("abcde"), "split": "probe"}))
    return tmp_path


def test_packed_images_follow_the_rows_of_the_table(packed):
    source = PackedImages(packed, ["d", "a"])
    assert len(source) == 2
    assert [image[0, 0, 0] for image in source.load_many([0, 1])] == [36, 0]
    assert len(PackedImages(packed)) == 5
    assert source.load(1).flags.writeable


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((5, 2, 2, 3)),
        np.zeros((5, 2, 2), np.uint8),
        np.zeros((5, 2, 3, 3), np.uint8),
        np.zeros((4, 2, 2, 3), np.uint8),
    ],
)
def test_a_pack_of_the_wrong_type_or_shape_is_refused(packed, array):
    write_array(packed / "images.npy", array)
    with pytest.raises(UserError, match="dvc repro"):
        PackedImages(packed)


def test_packs_that_are_missing_incomplete_or_ambiguous_are_refused(packed, tmp_path):
    with pytest.raises(UserError, match="no image 'z'"):
        PackedImages(packed, ["a", "z"])
    with pytest.raises(UserError, match=r"images\.npy"):
        PackedImages(tmp_path / "nowhere")
    write_table(packed / "attributes.parquet", pd.DataFrame({"image": list("abcdd")}))
    with pytest.raises(UserError, match="different id"):
        PackedImages(packed)


def test_a_collection_is_opened_by_ids_and_read_in_the_order_in_which_it_lies():
    read = []

    def decode(position):
        read.append(position)
        return Image.new("RGB", (1, 1), (position, 0, 0))

    source = open_collection(Collection("x", list("abcd"), [""] * 4, decode), ["d", "b", "a"])
    assert len(source) == 3
    assert [int(image[0, 0, 0]) for image in source.load_many([0, 2, 1, 0], workers=1)] == [3, 0, 1, 3]
    assert read == [0, 1, 3, 3]


def test_a_collection_without_an_image_of_the_table_is_refused():
    with pytest.raises(UserError, match=r"x has no image 'z'.*dvc repro"):
        open_collection(Collection("x", ["a"], [""], lambda row: Image.new("RGB", (1, 1))), ["a", "z"])


def test_an_id_stands_for_one_picture():
    with pytest.raises(UserError, match=r"x has a twice"):
        Collection("x", ["a", "b", "a"], [""] * 3, lambda row: Image.new("RGB", (1, 1)))


def test_cut_gives_the_pixels_of_the_box():
    image = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    np.testing.assert_array_equal(cut(image, (1, 2, 3, 5)), image[2:5, 1:3])
    np.testing.assert_array_equal(cut(image, (0, 0, 4, 5)), image)


@pytest.mark.parametrize("box", [(0, 0, 5, 5), (0, 0, 4, 6), (-1, 0, 2, 2), (2, 0, 2, 2), (3, 0, 2, 2), (0, 4, 1, 4)])
def test_boxes_that_are_empty_or_outside_are_refused(box):
    with pytest.raises(ValueError, match="not inside"):
        cut(np.zeros((5, 4, 3), np.uint8), box)


def test_resized_squashes_a_box_to_a_square():
    image = np.zeros((40, 20, 3), np.uint8)
    image[20:] = 200
    assert resized(image, 10).shape == (10, 10, 3)
    assert (resized(image, 10, (0, 24, 20, 40)) == 200).all()
    assert (resized(image, 10)[:3] == 0).all()
    assert (resized(image, 10)[7:] == 200).all()
