"""Decode images to uint8 RGB. All image bytes are decoded here."""

from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION, TiffImageFile

from falcon_dvc.images.depth import as_bytes, with_low_bytes
from falcon_dvc.images.kinds import FORMATS, START, other_kind
from falcon_dvc.placeholders import placeholder

# An image with more pixels is refused as a decompression bomb: Pillow's own warning level, a quarter of a gigabyte as RGB.
MAX_PIXELS = 89_478_485
# Each scan of a progressive JPEG redraws the image: a megabyte of short scans takes minutes. Encoders write about ten.
MAX_SCANS = 1000
SCAN = b"\xff\xda"
# Numbers written as text in a PPM file take two seconds for a million pixels.
MAX_TEXT_PIXELS = 4_000_000
# Size of the largest picture without compression (four channels of 16 bits); a valid file is not longer.
MAX_BYTES = 8 * MAX_PIXELS
# A table or an archive can hold names of any length; messages show this many characters.
MAX_NAME = 255
ORIENTATION_TAG = 0x0112
ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


Picture = UInt8[np.ndarray, "height width 3"]
Box = tuple[int, int, int, int]


class UnreadableImageError(Exception):
    """An image that cannot be decoded; the message is the reason."""


def printable(name: str) -> str:
    """Escape the characters of a name that are not printable, and shorten it to `MAX_NAME` characters."""
    shown = name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}..."
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in shown)


def decoded(file: Path | BinaryIO) -> Image.Image:
    """Decode the first frame of an image file in full, as upright RGB, with the decoders of `FORMATS` only.

    Raises
    ------
    UnreadableImageError
        If the file cannot be decoded, for any reason.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            _refuse_many_scans(image)
            _refuse_long_texts(image)
            return as_picture(image)
    except UnreadableImageError:
        raise
    except Exception as error:  # decoders raise anything on a damaged file: OSError, SyntaxError, struct.error, ...
        reason = _unidentified(file) if isinstance(error, UnidentifiedImageError) else str(error)
        raise UnreadableImageError(f"cannot be decoded ({printable(reason)})") from error


def _unidentified(file: Path | BinaryIO) -> str:
    """Say what a file is that no decoder accepts."""
    if isinstance(file, Path):
        start = first_bytes(file)
    else:
        file.seek(0)
        start = file.read(START)
    unknown, kind, instead = "not an image in a known format", other_kind(start), placeholder(start)
    if kind or not instead:
        return f"{unknown}, but {kind}" if kind else unknown
    return f"{unknown}: {instead}"


def first_bytes(path: Path) -> bytes:
    """Read the first `START` bytes of a file; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(START)
    except OSError:
        return b""


def _refuse_many_scans(image: Image.Image) -> None:
    """Refuse a JPEG with too many scans; the marker of a scan cannot occur in the data of a scan."""
    if isinstance(image, JpegImageFile) and image.fp is not None:
        position = image.fp.tell()
        image.fp.seek(0)
        scans = sum(block.count(SCAN) for block in iter(partial(image.fp.read, 2**20), b""))
        image.fp.seek(position)
        if scans > MAX_SCANS:
            raise UnreadableImageError(f"more than {MAX_SCANS} scans")


def _refuse_long_texts(image: Image.Image) -> None:
    """Refuse a large PPM file whose numbers are text."""
    as_text = any(tile.codec_name == "ppm_plain" for tile in getattr(image, "tile", []))
    if as_text and image.width * image.height > MAX_TEXT_PIXELS:
        raise UnreadableImageError(f"more than {MAX_TEXT_PIXELS} pixels as text; save as PNG")


def as_picture(image: Image.Image) -> Image.Image:
    """Decode an image if necessary, and return it as upright RGB.

    Raises
    ------
    UnreadableImageError
        If it has too many pixels.
    """
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImageError(f"more than {MAX_PIXELS} pixels")
    scaled = with_low_bytes(image)
    image.load()
    return _upright(image, scaled)


def _upright(image: Image.Image, decoded: Image.Image) -> Image.Image:
    """Convert a decoded image to RGB and apply the EXIF orientation of its file."""
    orientation = image.getexif().get(ORIENTATION_TAG, 1)
    rgb = _as_rgb(decoded)
    return rgb.transpose(ORIENTATIONS[orientation]) if orientation in ORIENTATIONS else rgb


def _as_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to 8-bit RGB; transparent areas become white."""
    if image.mode == "F" or image.mode.startswith("I"):
        grey = as_bytes(np.asarray(image))
        return Image.fromarray(255 - grey if _white_is_zero(image) else grey).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _white_is_zero(image: Image.Image) -> bool:
    """Return whether a TIFF stores white as 0. Pillow inverts such values if they have up to 8 bits only."""
    return isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0


def cut(image: Picture, box: Box) -> Picture:
    """Cut a box out of an image.

    Parameters
    ----------
    image : (height, width, 3) uint8 array
    box : (left, top, right, bottom)
        In pixels, right and bottom exclusive, inside the image.

    Raises
    ------
    ValueError
        If the box is empty or reaches out of the image.
    """
    left, top, right, bottom = box
    height, width = image.shape[:2]
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ValueError(f"box {box} is not inside an image of {width} x {height} pixels")
    return image[top:bottom, left:right]


def resized(image: Picture, size: int, box: Box | None = None) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """Scale an image, or a box of it, to `size` by `size` pixels (bicubic, antialiased), whatever its aspect ratio.

    At the edges of a box the filter reads pixels outside the box, as if the image were scaled first and cropped then.
    """
    if box is None and image.shape[:2] == (size, size):
        return image
    return np.array(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC, box=box))
