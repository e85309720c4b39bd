"""What a decoded picture holds, as far as a listing tells it: whether two are the same, and whether one is grey-scale."""

import hashlib

import numpy as np
from PIL import Image

ROWS = 64  # of pixels that are copied at once
SAMPLE = (16, 16)  # pixels that are looked at for colour
TOLERANCE = 4  # difference of channels that compression of a grey-scale picture leaves


def fingerprint(picture: Image.Image) -> int:
    """Return a digest of 64 bits of the size and pixels of an RGB picture. Copies in other files have the same one."""
    width, height = picture.size
    digest = hashlib.blake2b(f"{width} {height}".encode(), digest_size=8)
    for top in range(0, height, ROWS):
        digest.update(picture.crop((0, top, width, min(top + ROWS, height))).tobytes())
    return int.from_bytes(digest.digest())


def is_grey(picture: Image.Image) -> bool:
    """Return whether a sample of the pixels of an RGB picture has no colour."""
    pixels = np.asarray(picture.resize(SAMPLE, Image.Resampling.NEAREST), dtype=int)
    return bool(np.ptp(pixels, axis=2).max() <= TOLERANCE)
