"""Files that are, or claim to be, pictures: the makers of the table of bad images."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image

from falcon_dvc.images.decode import ORIENTATION_TAG
from tests.support.sample_images import NOISE, SAMPLES, encoded

NOISY = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
RED = Image.new("RGB", (4, 3), (255, 0, 0))
KINDS = ("jpeg", "png", "webp", "gif", "tiff", "bmp", "avif", "jpeg2000", "ppm")
WHOLE = {"jp2" if kind == "jpeg2000" else kind: encoded(NOISY, kind.upper()) for kind in KINDS}
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def half(content: bytes) -> bytes:
    """The first half of a file."""
    return content[: len(content) // 2]


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *more: bytes, pixels: bytes = b"", depth: int = 8, colours: int = 2) -> bytes:
    """A PNG file with a header of one's own and compressed `pixels`."""
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    body = [chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b"")]
    return SIGNATURE + b"".join(body)


def png_claiming(width: int, height: int) -> bytes:
    """A PNG file of a few bytes that claims a size."""
    return png(width, height)


def gif_claiming(width: int, height: int) -> bytes:
    """A GIF file of a few bytes that claims a size."""
    content = bytearray(encoded(RED.quantize(2), "GIF"))
    content[6:10] = struct.pack("<HH", width, height)
    return bytes(content)


def bmp_claiming(width: int, height: int) -> bytes:
    """A BMP file of a few bytes that claims a size."""
    content = bytearray(encoded(RED, "BMP"))
    content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


def jpeg_claiming(width: int, height: int) -> bytes:
    """A JPEG file of a few bytes that claims a size."""
    content = bytearray(encoded(RED, "JPEG"))
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def tiff(*entries: tuple[int, int, int, int], data: bytes = b"") -> bytes:
    """A little-endian TIFF file of one directory: tag, type, count, value of each entry; `data` follows from byte 512."""
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return (b"II*\0" + struct.pack("<I", 8) + directory + bytes(4)).ljust(512, b"\0") + data


GREY_TIFF = (
    (256, 3, 1, 2),
    (257, 3, 1, 2),
    (258, 3, 1, 8),
    (259, 3, 1, 1),
    (262, 3, 1, 1),
    (277, 3, 1, 1),
    (278, 3, 1, 2),
)


def grey_tiff(photometric: int, *values: float, kind: str = "<u2") -> bytes:
    """A TIFF file of one row of grey values; `photometric` 0 says that white is 0."""
    row = np.array(values).astype(kind)
    bits, sample = 8 * row.itemsize, {"u": 1, "i": 2, "f": 3}[row.dtype.kind]
    numbers = {
        256: row.size,
        257: 1,
        258: bits,
        259: 1,
        262: photometric,
        273: 512,
        277: 1,
        278: 1,
        279: row.nbytes,
        339: sample,
    }
    return tiff(*((tag, 3, 1, value) for tag, value in numbers.items()), data=row.tobytes())


def tiff_that_leads_to_itself() -> bytes:
    """A TIFF file whose next directory is its first."""
    content = bytearray(tiff(*GREY_TIFF, (273, 4, 1, 512), (279, 4, 1, 4), data=bytes([9] * 4)))
    content[8 + 2 + 12 * 9 : 8 + 2 + 12 * 9 + 4] = struct.pack("<I", 8)
    return bytes(content)


def deep_png(values: np.ndarray) -> bytes:
    """A PNG file of 16 bits a channel; Pillow writes none with colours."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(width, height, pixels=rows, depth=16, colours={2: 4, 3: 2, 4: 6}[channels])


def deep_tiff(values: np.ndarray) -> bytes:
    """A TIFF file of three colours of 16 bits."""
    height, width, _ = values.shape
    entries = [(256, width), (257, height), (259, 1), (262, 2), (277, 3), (278, height)]
    short = [(tag, 3, 1, value) for tag, value in entries]
    places = [(258, 3, 3, 500), (273, 4, 1, 512), (279, 4, 1, values.size * 2)]
    content = bytearray(tiff(*sorted(short + places), data=values.astype("<u2").tobytes()))
    content[500:506] = struct.pack("<HHH", 16, 16, 16)
    return bytes(content)


def float_tiff(*values: float) -> bytes:
    """One row of floats."""
    return encoded(Image.fromarray(np.array([values], dtype=np.float32)), "TIFF")


def inverted_cmyk() -> bytes:
    """A red JPEG file in CMYK with Adobe's mark, which says that the inks are stored inverted."""
    content = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")
    assert b"Adobe" in content
    return content


def animated(kind: str) -> bytes:
    """Red, then green."""
    return encoded(RED, kind, save_all=True, append_images=[Image.new("RGB", (4, 3), "green")], lossless=True)


def palette_with_transparency() -> bytes:
    """Every pixel is one that the palette calls transparent."""
    image = Image.new("P", (4, 3), 1)
    image.putpalette([0, 128, 0, 255, 0, 0])
    return encoded(image, "PNG", transparency=1)


def oriented(value: object, kind: str = "JPEG") -> bytes:
    """Noise whose EXIF orientation is `value`."""
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = value
    return encoded(Image.fromarray(NOISE), kind, exif=exif)


def exif(content: bytes) -> bytes:
    """A JPEG file with some bytes as EXIF."""
    return encoded(Image.fromarray(NOISE), "JPEG", exif=b"Exif\0\0" + content)


def exif_that_leads_to_itself() -> bytes:
    """EXIF whose sub-directory is the directory itself."""
    directory = struct.pack("<H", 1) + struct.pack("<HHII", 0x8769, 4, 1, 8) + bytes(4)
    return exif(b"II*\0" + struct.pack("<I", 8) + directory)


def icc(content: bytes) -> bytes:
    """A JPEG file with some bytes as colour profile."""
    return encoded(RED.resize((8, 8)), "JPEG", icc_profile=content)


@cache
def packed_zeros() -> bytes:
    """200 megabytes of zeros, compressed: one of them, which is compressed as if nothing came before, again and again."""
    packer, megabytes = zlib.compressobj(9, wbits=-15), 200
    one = packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = megabytes * 1_000_000 % 65521 << 16 | 1  # Adler-32 of zeros
    return b"\x78\xda" + one * megabytes + packer.flush() + struct.pack(">I", checksum)


def text_bomb() -> bytes:
    """A PNG file with a compressed text of 200 megabytes."""
    return png(1, 1, chunk(b"zTXt", b"Comment\0\0" + packed_zeros()), pixels=b"\0\xff\0\0")


def texts_of_a_megabyte(count: int) -> bytes:
    """A PNG file with many texts, each below what the decoder refuses."""
    packed = zlib.compress(b"x" * 1_000_000)
    texts = (chunk(b"zTXt", b"k%d\0\0" % number + packed) for number in range(count))
    return png(1, 1, *texts, pixels=b"\0\xff\0\0")


def profile_bomb() -> bytes:
    """A PNG file whose compressed colour profile has 200 megabytes."""
    return png(1, 1, chunk(b"iCCP", b"p\0\0" + packed_zeros()), pixels=b"\0\xff\0\0")


def many_scans(count: int) -> bytes:
    """A progressive JPEG file of 4096 x 4096 pixels that repeats a scan of a few bytes."""
    content = encoded(Image.new("L", (4096, 4096)), "JPEG", progressive=True)
    first = content.index(b"\xff\xda")
    second = content.index(b"\xff\xda", first + 2)
    table = content.index(b"\xff\xc4", first)
    scan = content[min(second, table) : content.index(b"\xff\xda", second + 2)]
    return content[:-2] + scan * count + content[-2:]


def zip_named_png() -> bytes:
    """An archive."""
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../escaped.png", SAMPLES["noise"])
    return file.getvalue()


def exif_entry(kind: int, count: int, value: bytes, beyond: bytes = b"") -> bytes:
    """EXIF whose only entry is the orientation, in a type of one's own; `beyond` lies where the directory ends."""
    entry = struct.pack("<HHI4s", ORIENTATION_TAG, kind, count, value)
    return exif(b"II*\0\x08\0\0\0\x01\0" + entry + bytes(4) + beyond)
