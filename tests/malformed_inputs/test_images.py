"""Bad images: each is left out with a reason, or read as the table says; the good one beside it is always read."""

import re

import numpy as np
import pytest
from PIL import Image

from falcon_dvc.images.open import list_source, open_images
from tests.support import damaged_pictures as p
from tests.support.image_sources import as_list, as_shards, as_structs, data, name_of
from tests.support.outcomes import Read, Row, Skipped, each
from tests.support.sample_images import SAMPLES, encoded

UNKNOWN = Skipped("not an image in a known format")
CUT = Skipped("cannot be decoded")
BOMB = Skipped("exceeds limit|more than .* pixels")
RED, WHITE = (255, 0, 0), (255, 255, 255)


def of(colour: tuple[int, int, int], width: int = 4, height: int = 3) -> Read:
    """A picture of one colour."""
    return Read(np.full((height, width, 3), colour, dtype=np.uint8))


def grey(*row: int) -> Read:
    """One row of grey pixels."""
    return Read(np.repeat(np.array([row], dtype=np.uint8)[:, :, None], 3, axis=2))


ROWS = [
    *(Row(f"cut {kind}", (f"a.{kind}", p.half(content)), CUT) for kind, content in p.WHOLE.items()),
    *(Row(f"only the mark of {kind}", (f"a.{kind}", content[:12]), CUT) for kind, content in p.WHOLE.items()),
    Row("zero bytes", ("a.png", b""), UNKNOWN),
    Row("one byte", ("a.jpg", b"\xff"), UNKNOWN),
    Row("nothing but zeros", ("a.jpg", bytes(100_000)), UNKNOWN),
    Row("HTML named .jpg", ("a.jpg", b"<!DOCTYPE html><title>404</title>"), UNKNOWN),
    Row("SVG named .png", ("a.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>"), UNKNOWN),
    Row("EPS that starts a program", ("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n(%pipe%touch ran) (w) file\n"), UNKNOWN),
    Row("PDF named .png", ("a.png", b"%PDF-1.4\n%%EOF\n"), UNKNOWN),
    Row("an archive named .png", ("a.png", p.zip_named_png()), UNKNOWN),
    Row("a pointer of Git LFS", ("a.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"), UNKNOWN),
    Row("PNG named .jpg", ("a.jpg", encoded(p.RED, "PNG")), of(RED)),
    Row("a rare format named .png", ("a.png", encoded(p.RED, "ICO")), UNKNOWN),
    Row("garbage after the end", ("a.png", encoded(p.RED, "PNG") + b"<script>" * 100), of(RED)),
    Row("a PNG whose checksum is wrong", ("a.png", encoded(p.RED, "PNG").replace(b"IDAT", b"IDAT\xff", 1)), CUT),
    # Sizes.
    Row("1 x 1", ("a.png", encoded(Image.new("RGB", (1, 1), RED), "PNG")), of(RED, 1, 1)),
    Row("1 x 10000", ("a.png", encoded(Image.new("RGB", (1, 10_000), RED), "PNG")), of(RED, 1, 10_000)),
    Row("10000 x 1", ("a.png", encoded(Image.new("RGB", (10_000, 1), RED), "PNG")), of(RED, 10_000, 1)),
    Row("0 pixels wide", ("a.png", p.png_claiming(0, 5)), UNKNOWN),
    Row("a PNG that claims 2^62 pixels", ("a.png", p.png_claiming(2**31 - 1, 2**31 - 1)), BOMB),
    Row("a PNG just above the limit", ("a.png", p.png_claiming(9460, 9460)), BOMB),
    Row("a PNG that claims more than it has", ("a.png", p.png_claiming(2000, 2000)), CUT),
    Row("a GIF that claims 2^32 pixels", ("a.gif", p.gif_claiming(65_535, 65_535)), BOMB),
    Row("a BMP that claims 2^60 pixels", ("a.bmp", p.bmp_claiming(2**30, 2**30)), BOMB),
    Row("a BMP of negative width", ("a.bmp", p.bmp_claiming(-4, 3)), BOMB),
    Row("a JPEG that claims 2^32 pixels", ("a.jpg", p.jpeg_claiming(65_500, 65_500)), BOMB),
    Row("a PPM as text", ("a.ppm", b"P3 2 1 255 255 0 0 255 0 0"), of(RED, 2, 1)),
    Row("a large PPM as text", ("a.ppm", b"P3 2001 2000 255 0"), Skipped("more than 4000000 pixels as text")),
    Row("a PNG text of 200 megabytes", ("a.png", p.text_bomb()), Skipped("too large")),
    Row("a colour profile of 200 megabytes", ("a.png", p.profile_bomb()), Skipped("too large")),
    Row("many PNG texts of a megabyte", ("a.png", p.texts_of_a_megabyte(80)), Skipped("too much memory|Too much memory")),
    Row("a JPEG of 1500 scans", ("a.jpg", p.many_scans(1500)), Skipped("more than 1000 scans")),
    # Colours and depths.
    Row("CMYK with Adobe's inverted inks", ("a.jpg", p.inverted_cmyk()), of((254, 0, 0), 8, 8)),
    Row("CMYK in TIFF", ("a.tif", encoded(Image.new("CMYK", (4, 3), (0, 255, 255, 0)), "TIFF")), of(RED)),
    Row("LAB in TIFF", ("a.tif", encoded(Image.new("LAB", (4, 3), (255, 128, 128)), "TIFF")), of(WHITE)),
    Row("16 bits", ("a.png", SAMPLES["deep"]), grey(0, 1, 128, 255)),
    Row("12 bits in 16", ("a.png", encoded(Image.fromarray(np.array([[0, 16, 2048, 4095]], dtype=np.uint16)), "PNG")), grey(0, 1, 128, 255)),
    Row("16 bits where white is 0", ("a.tif", p.grey_tiff(0, 0, 256, 32768, 65535)), grey(255, 254, 127, 0)),
    Row("negative numbers", ("a.tif", p.grey_tiff(1, -1000, 500, 2000, kind="<i2")), grey(0, 128, 255)),
    Row("floats of 64 bits", ("a.tif", p.grey_tiff(1, 0, 1, kind="<f8")), Skipped("TIFF that is damaged or has unusual pixels")),
    Row("an iPhone's picture named .jpg", ("a.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), Skipped("but HEIF; save as JPEG or PNG")),
    Row("two views in one JPEG", ("a.mpo", encoded(p.RED, "MPO", save_all=True, append_images=[p.RED.rotate(180)])), of(RED)),
    Row("a TIFF of two pages", ("a.tif", p.animated("TIFF")), of(RED)),
    Row("one bit", ("a.png", encoded(Image.new("1", (4, 3), 1), "PNG")), of(WHITE)),
    Row("NaN alone", ("a.tif", p.float_tiff(np.nan, np.nan)), grey(0, 0)),
    Row("NaN among numbers", ("a.tif", SAMPLES["float"]), grey(0, 128, 255, 0)),
    Row("infinite numbers", ("a.tif", p.float_tiff(0, 1, np.inf, -np.inf)), grey(0, 255, 0, 0)),
    Row("the largest floats", ("a.tif", p.float_tiff(-3e38, 0, 3e38)), grey(0, 128, 255)),
    Row("a palette with transparency", ("a.png", p.palette_with_transparency()), of(WHITE)),
    Row("a palette that is too short", ("a.png", p.png(2, 1, p.chunk(b"PLTE", b"\xff\0\0"), pixels=b"\0\0\xff", colours=3)), Read((2, 1))),
    Row("a palette that is missing", ("a.png", p.png(2, 1, pixels=b"\0\0\x01", colours=3)), CUT),
    Row("wholly transparent", ("a.png", encoded(Image.new("RGBA", (4, 3), (255, 0, 0, 0)), "PNG")), of(WHITE)),
    *(Row(f"animated {kind}", (f"a.{kind}", p.animated(kind.upper())), of((254, 0, 0) if kind == "webp" else RED)) for kind in ("gif", "png", "webp")),
    # What stands beside the pixels.
    *(Row(f"EXIF rotation {value}", ("a.jpg", p.oriented(value)), Read((7, 5))) for value in (0, 9, 65_535)),
    Row("EXIF rotation to the left", ("a.jpg", p.oriented(8)), Read((5, 7))),
    Row("EXIF rotation as text", ("a.jpg", p.exif_entry(2, 4, b"six\0")), Read((7, 5))),
    Row("EXIF rotation as a fraction", ("a.jpg", p.exif_entry(5, 1, b"\x1a\0\0\0", b"\x06\0\0\0\0\0\0\0")), Read((7, 5))),
    Row("EXIF of junk", ("a.jpg", p.exif(b"junk" * 10)), Read((7, 5))),
    Row("EXIF cut off", ("a.jpg", p.exif(b"II*\0\x08\0\0\0\xff\xff")), Read((7, 5))),
    Row("EXIF that leads to itself", ("a.jpg", p.exif_that_leads_to_itself()), Read((7, 5))),
    Row("EXIF that leads out", ("a.jpg", p.exif(b"II*\0\xff\xff\xff\x7f")), Read((7, 5))),
    Row("a colour profile of junk", ("a.jpg", p.icc(b"junk" * 100)), Read((8, 8))),
    Row("a TIFF that leads to itself", ("a.tif", p.tiff_that_leads_to_itself()), Read((2, 2))),
    Row("a TIFF whose pixels lie outside", ("a.tif", p.tiff(*p.GREY_TIFF, (273, 4, 1, 2**31), (279, 4, 1, 4))), CUT),
    Row("a TIFF of two billion strips", ("a.tif", p.tiff(*p.GREY_TIFF, (273, 4, 2**31 - 1, 512), (279, 4, 1, 4))), CUT),
    Row("a TIFF in an unknown compression", ("a.tif", p.tiff(*p.GREY_TIFF[:3], (259, 3, 1, 9999), *p.GREY_TIFF[4:], (273, 4, 1, 512), (279, 4, 1, 4), data=bytes(4))), CUT),
]  # fmt: skip


@each(ROWS)
def test_a_bad_file_in_a_folder(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, content = row.make
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "good.png").write_bytes(SAMPLES["noise"])
    (tmp_path / "images" / name).write_bytes(content)
    params = data("images", tmp_path / "images")
    listing = list_source(params)
    if isinstance(row.expected, Skipped):
        assert listing.table["image"].tolist() == ["good.png"]
        assert_reason(row.expected, listing.skipped, name)
    else:
        assert listing.table["image"].tolist() == [name, "good.png"] and listing.skipped == []
        assert_picture(row.expected.value, open_images(params, listing.table).load(0), listing.table)
    assert not (tmp_path / "ran").exists()


def assert_reason(expected, skipped, name):
    """One line, which names the file and says why."""
    (line,) = skipped
    assert line.startswith(f"{name}: ") and "\n" not in line and len(line) < 300
    assert re.search(expected.words, line), line


def assert_picture(expected, array, table):
    """The size that the row says, in the table too, and the pixels if it says them."""
    width, height = expected if isinstance(expected, tuple) else expected.shape[1::-1]
    assert (array.dtype, array.shape) == (np.uint8, (height, width, 3))
    assert table.loc[0, ["width", "height"]].tolist() == [width, height]
    if not isinstance(expected, tuple):
        assert np.abs(array.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("make", [as_list, as_structs, as_shards], ids=lambda make: make.__name__)
def test_what_a_folder_leaves_out_every_source_leaves_out(make, tmp_path):
    left_out = [row for row in ROWS if isinstance(row.expected, Skipped)]
    bad = {f"{number:03}": row.make[1] for number, row in enumerate(left_out)}
    listing = list_source(make(tmp_path / "all", {**bad, "good": SAMPLES["noise"]}))
    assert [name_of(image) for image in listing.table["image"]] == ["good"]
    for row, line in zip(left_out, listing.skipped, strict=True):
        assert re.search(row.expected.words, line), (row.name, line)
