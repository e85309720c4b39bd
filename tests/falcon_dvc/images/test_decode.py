"""Every mode of a picture becomes upright uint8 RGB; boxes are cut and resized."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from falcon_dvc.images import decode
from falcon_dvc.images.decode import cut, resized
from falcon_dvc.images.listing import list_images
from falcon_dvc.images.source import FolderImages
from tests.support.picture_files import GREEN, RED, WHITE, picture, save


def loaded(path: Path) -> np.ndarray:
    """Load the one picture of a folder, whose size and type must be as listed."""
    table = list_images(path.parent, "fail").table
    array = FolderImages(path.parent, table["image"].tolist()).load(0)
    assert array.dtype == np.uint8
    assert array.shape == (table["height"][0], table["width"][0], 3)
    return array


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
