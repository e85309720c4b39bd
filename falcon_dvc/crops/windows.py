"""Windows of images: a caption of a whole picture of many things leaves small ones out, and that of a window names them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

WINDOWS = 4  # of an image


def corner_windows(
    width: Int[np.ndarray, " images"], height: Int[np.ndarray, " images"], side: float
) -> Int[np.ndarray, "windows 4"]:
    """Place four windows in the corners of each image, in order of the images: left, top, right, bottom in pixels.

    Parameters
    ----------
    side : of a window, as a share of the image's width and height; from a half on, the windows cover the image.
    """
    columns, rows = (np.maximum(1, np.rint(side * length)).astype(int) for length in (width, height))
    right, below, nothing = width - columns, height - rows, np.zeros(len(width), dtype=int)
    corners = [(left, top) for top in (nothing, below) for left in (nothing, right)]
    windows = [np.column_stack([left, top, left + columns, top + rows]) for left, top in corners]
    return np.stack(windows, axis=1).reshape(-1, 4)


def beside(of_images: np.ndarray, of_windows: np.ndarray) -> np.ndarray:
    """Join what was found in each image and in its windows: (images, k) and (windows, k) to one row for each image."""
    return np.hstack([of_images, of_windows.reshape(len(of_images), -1)])
