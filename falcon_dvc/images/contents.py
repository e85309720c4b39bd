"""What a decoded picture holds, as far as a listing tells it: whether two are the same, and whether one is grey-scale."""

import hashlib

import numpy as np
from PIL import Image

ROWS = 256  # most rows of pixels that are compared; all rows of a large picture would take as long as decoding it
SAMPLE = (16, 16)  # pixels that are looked at for colour
TOLERANCE = 4  # difference of channels that compression of a grey-scale picture leaves


def fingerprint(picture: Image.Image) -> int:
    """Return a digest of 64 bits of the size and of `ROWS` rows of an RGB picture. Copies in other files have the same one."""
    width, height = picture.size
    rows = picture if height <= ROWS else picture.resize((width, ROWS), Image.Resampling.NEAREST)
    digest = hashlib.blake2b(f"{width} {height}".encode(), digest_size=8)
    digest.update(rows.tobytes())
    return int.from_bytes(digest.digest())


def is_grey(picture: Image.Image) -> bool:
    """Return whether a sample of the pixels of an RGB picture has no colour."""
    pixels = np.asarray(picture.resize(SAMPLE, Image.Resampling.NEAREST), dtype=int)
    return bool(np.ptp(pixels, axis=2).max() <= TOLERANCE)
