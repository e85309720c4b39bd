"""Names and first bytes tell what is a picture, what is one that is not read, and what is none."""

import pytest
from PIL import Image

from falcon_dvc.images.decode import UnreadableImageError, decoded
from falcon_dvc.images.kinds import (
    FORMATS,
    NO_PICTURES,
    compression,
    is_picture,
    may_be_picture,
    other_kind,
    readable_suffixes,
    suffix_of,
    unpacking,
    unread_kind,
)
from tests.support.sample_images import NOISE, encoded

PICTURE = Image.fromarray(NOISE)


def test_every_suffix_that_pillow_knows_is_read_or_named():
    for suffix, kind in Image.registered_extensions().items():
        assert (suffix in readable_suffixes()) == (kind in FORMATS or suffix == ".mpo"), suffix
        assert bool(unread_kind(f"a{suffix}")) == (suffix not in readable_suffixes() and kind not in NO_PICTURES), (
            suffix
        )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.HEIC", "HEIF"), ("a.b.heif", "HEIF"), ("x/IMG.JXL", "JPEG XL"), ("a.svg", "SVG"), ("a.DNG", "camera raw"),
        ("a.cr2", "camera raw"), ("a.dcm", "DICOM"), ("scan.nii.gz", "NIfTI"), ("a.exr", "OpenEXR"), ("a.tga", "TGA"),
        ("a.psd", "PSD"), ("a.jpg", None), ("a.jfif", None), ("a.AVIF", None), ("a.jp2", None), ("a.gz", None),
        ("a.txt", None), ("heic", None), (".heic", None), ("22.05", None),
    ],
)  # fmt: skip
def test_pictures_that_are_not_read_are_known_by_name(name, kind):
    assert unread_kind(name) == kind


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.JPG", ".jpg"), ("a.b.png", ".png"), ("22.05", ""), ("a", ""), (".png", ""), ("a.05.png", ".png")],
)
def test_a_number_is_no_suffix(name, suffix):
    assert suffix_of(name) == suffix


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("a.tar.gz", "gzip -d"),
        ("a.b.TGZ", "gzip -d"),
        ("a.tar.zst", "zstd -d"),
        ("a.zip", "unzip"),
        ("a.tar", None),
        ("a.gz", None),
    ],
)
def test_archives_are_known_by_name(name, command):
    assert unpacking(name) == command


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "JPEG2000", "AVIF"])
def test_a_picture_is_known_by_its_first_bytes(kind):
    assert is_picture(encoded(PICTURE, kind)[:132])


@pytest.mark.parametrize(
    "start", [b"", b"BMW and other cars", b"P5 is a road", b"GIF89a in a text", b"\0" * 132, b"PK\x03\x04" + bytes(9)]
)
def test_other_files_are_no_pictures(start):
    assert not is_picture(start)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "but HEIF; save as JPEG or PNG"),
        (b"\xff\x0a" + bytes(20), "but JPEG XL"),
        (bytes(128) + b"DICM", "but DICOM"),
        (b"8BPS\0\x01", "but Photoshop"),
        (b"<?xml version='1.0'?>\n<svg/>", "but SVG"),
        (b"anything", r"in a known format\)"),
    ],
)  # fmt: skip
def test_a_picture_of_another_kind_under_a_usual_name_is_recognised(tmp_path, content, words):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UnreadableImageError, match=f"not an image in a known format.*{words}|{words}"):
        decoded(tmp_path / "a.jpg")
    assert (other_kind(content) is None) == (content == b"anything")


def test_only_compressed_files_are_packed():
    assert compression(b"\x1f\x8b\x08") == "gzip -d" and compression(b"0.png\0") is None


@pytest.mark.parametrize(("name", "may"), [("a.txt", False), ("a.json", False), ("a", True), ("a.jpg_large", True)])
def test_files_of_known_other_types_are_not_opened(name, may):
    assert may_be_picture(name) == may
