"""Accept images of a notebook: PIL images, arrays, or a batch as a tensor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from falcon_dvc.errors import UserError, one_line
from falcon_dvc.images.decode import Picture, as_picture
from falcon_dvc.images.depth import as_bytes

KINDS = "give PIL images, uint8 or uint16 arrays (height, width, 3), or one tensor (images, 3, height, width)"


def pictures(images: Any) -> list[Picture]:
    """Return images as upright RGB arrays.

    Parameters
    ----------
    images : iterable of PIL images and arrays, or one tensor (images, 3, height, width)
        Arrays are uint8, or uint16, which `as_bytes` scales. A tensor holds bytes, or numbers from 0 to 1.

    Raises
    ------
    UserError
        If there is none, or one is of another kind. The message gives its number.
    """
    images = _unstacked(images) if hasattr(images, "detach") else images
    if not isinstance(images, Iterable) or isinstance(images, (str, bytes)):
        raise UserError(f"images: a {type(images).__name__}; {KINDS}")
    found = [_picture(image, number) for number, image in enumerate(images)]
    if not found:
        raise UserError(f"images: none; {KINDS}")
    return found


def _unstacked(batch: Any) -> np.ndarray:
    """Return a tensor of images as bytes (images, height, width, 3)."""
    values = batch.detach().cpu().float().numpy() if batch.is_floating_point() else batch.detach().cpu().numpy()
    if values.ndim != 4 or values.shape[1] != 3:
        raise UserError(f"images: a tensor of shape {tuple(values.shape)}; {KINDS}")
    if values.dtype.kind == "f":
        if not (values.min(initial=0) >= 0 and values.max(initial=0) <= 1):  # also false for NaN
            raise UserError("images: numbers outside 0 to 1; give pixels before standardisation")
        values = np.rint(255 * values)
    return values.astype(np.uint8).transpose(0, 2, 3, 1)


def _picture(image: Any, number: int) -> Picture:
    """Return one image as an RGB array."""
    if isinstance(image, np.ndarray):
        image = _of_array(image, number)
    if not isinstance(image, Image.Image):
        raise UserError(f"images: number {number} is a {type(image).__name__}; {KINDS}")
    try:
        return np.array(as_picture(image))
    except Exception as error:  # decoders raise anything on a damaged file
        raise UserError(f"images: number {number} cannot be decoded ({one_line(error)}); leave it out") from error


def _of_array(image: np.ndarray, number: int) -> Image.Image:
    channels = image.shape[2] if image.ndim == 3 else 1
    if (
        image.dtype not in (np.uint8, np.uint16)
        or image.ndim not in (2, 3)
        or channels not in (1, 3, 4)
        or not image.size
    ):
        raise UserError(f"images: number {number} is {image.dtype} of shape {image.shape}; {KINDS}")
    image = as_bytes(image) if image.dtype == np.uint16 else image
    return Image.fromarray(np.ascontiguousarray(image[..., 0] if image.ndim == 3 and channels == 1 else image))
