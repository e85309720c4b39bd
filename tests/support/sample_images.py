"""Encoded pictures of every awkward kind, for tests that put the same ones into each source."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

from falcon_dvc.images.decode import ORIENTATION_TAG

NOISE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    """Give the bytes of a picture as a file."""
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def coloured(red: int) -> bytes:
    """A picture that can be told from others by its first pixel."""
    return encoded(Image.new("RGB", (4, 3), (red, 0, 0)), "PNG")


def _oriented() -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    return encoded(Image.fromarray(NOISE), "JPEG", exif=exif)


def _animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "green")]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)


MAKERS: dict[str, Callable[[], bytes]] = {
    "alpha": lambda: encoded(Image.new("RGBA", (4, 3), (255, 0, 0, 100)), "PNG"),
    "animated_gif": lambda: _animated("GIF"),
    "animated_webp": lambda: _animated("WEBP"),
    "cmyk": lambda: encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"),
    "deep": lambda: encoded(Image.fromarray(np.array([[0, 256, 32768, 65535]], dtype=np.uint16)), "PNG"),
    "float": lambda: encoded(Image.fromarray(np.array([[0.0, 0.5, 1.0, np.nan]], dtype=np.float32)), "TIFF"),
    "noise": lambda: encoded(Image.fromarray(NOISE), "PNG"),
    "oriented": _oriented,
    "palette": lambda: encoded(Image.fromarray(NOISE).quantize(4), "PNG"),
}
SAMPLES = {name: make() for name, make in MAKERS.items()}
BOMB = encoded(Image.new("RGB", (30, 30)), "PNG")
DAMAGED = encoded(Image.fromarray(NOISE).resize((64, 64)), "JPEG", quality=95)[:500]
