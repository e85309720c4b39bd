"""Scale values of more than 8 bits to 8 bits."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

# Cameras, scanners and depth sensors measure so many bits, and store them unscaled in 16.
DEPTHS = (8, 10, 12, 14, 16)
# How colours of 16 bits lie in a file, and how they would lie if each had its other byte first; "" where Pillow has no such mode.
ORDERS = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
SWAPPED = {
    f"{bands};16{order}": f"{bands};16{other}" for bands in ("RGB", "RGBA", "RGBX") for order, other in ORDERS.items()
}
SWAPPED["LA;16B"] = ""


def as_bytes(values: np.ndarray) -> UInt8[np.ndarray, ...]:
    """Scale grey values to 8 bits.

    Integers from 0 to 65535 are divided by the power of two that the smallest of `DEPTHS` asks for that holds the largest
    value. Floats and other integers are scaled from their own range. Infinite values and NaN count as 0.
    """
    if np.issubdtype(values.dtype, np.integer) and values.min() >= 0 and values.max() < 2**16:
        depth = next(depth for depth in DEPTHS if values.max() < 2**depth)
        return (values >> (depth - 8)).astype(np.uint8)
    finite = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    span = np.ptp(finite)
    return np.rint((finite - finite.min()) * (255.0 / span if span > 0 else 0.0)).astype(np.uint8)


def with_low_bytes(image: Image.Image) -> Image.Image:
    """Return a colour image of 16 bits a channel that holds fewer bits with its values scaled by `as_bytes`; any other image unchanged.

    Pillow keeps the high byte of colours only, so colours of 12 bits in 16 would be nearly black.
    """
    raw = _raw_mode(image)
    if image.mode not in ("RGB", "RGBA") or raw not in SWAPPED:
        return image
    swapped = _with_raw_mode(image, SWAPPED[raw])
    high = np.asarray(image)
    if high[..., :3].max() >= 2 ** (DEPTHS[-2] - 8):
        return image
    low = np.asarray(swapped) if swapped else np.zeros_like(high)
    values = high.astype(np.uint16) << 8 | low
    scaled = [
        as_bytes(values[..., :3]),
        *(as_bytes(values[..., band : band + 1]) for band in range(3, values.shape[2])),
    ]
    return Image.fromarray(np.concatenate(scaled, axis=2))


def _raw_mode(image: Image.Image) -> str:
    """Return how the pixels of an image lie in its file; "" if they are decoded."""
    tiles: list[Any] = list(getattr(image, "tile", []))
    arguments = tiles[0].args if tiles else ""
    return arguments if isinstance(arguments, str) else str(next(iter(arguments or ()), ""))


def _with_raw_mode(image: Image.Image, raw: str) -> Image.Image | None:
    """Open the file of an image again, to be decoded as if its pixels lay otherwise; None if Pillow cannot."""
    file = getattr(image, "fp", None)
    if not raw or file is None:
        return None
    position = file.tell()
    file.seek(0)
    copy = Image.open(io.BytesIO(file.read()), formats=(str(image.format),))
    file.seek(position)
    tiles: list[Any] = list(getattr(copy, "tile", []))
    copy.tile = [tile._replace(args=raw if isinstance(tile.args, str) else (raw, *tile.args[1:])) for tile in tiles]  # type: ignore[attr-defined]
    return copy
