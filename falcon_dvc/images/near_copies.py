"""Find copies of images among others: the same picture under another name, size, format or compression."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float32, Int

from falcon_dvc.images.decode import Picture, resized

SIDE = 16  # pixels of the small picture that stands for an image
LEAST_CORRELATION = 0.993  # of two small pictures of the same image; photographs of one kind of thing reach 0.991
LEAST_SPREAD = 2.0  # standard deviation in grey levels; flatter pictures differ in noise alone
AT_ONCE = 4096  # images that are compared at once

Small = Float32[np.ndarray, "images numbers"]


def small_pictures(pictures: Iterable[Picture]) -> Small:
    """Scale each image to `SIDE` x `SIDE`, and standardise its numbers; a row of zeros for a flat image."""
    rows = [resized(picture, SIDE).reshape(-1).astype(np.float32) for picture in pictures]
    if not rows:
        return np.zeros((0, 3 * SIDE * SIDE), dtype=np.float32)
    small = np.stack(rows)
    small -= small.mean(axis=1, keepdims=True)
    spread = small.std(axis=1, keepdims=True)
    return np.divide(small, spread, out=np.zeros_like(small), where=spread >= LEAST_SPREAD)


def near_copies(small: Small, others: Small) -> Int[np.ndarray, "pairs 2"]:
    """Return the pairs of an image and another that show the same picture: a row of `small` and a row of `others`."""
    found = []
    for start in range(0, len(others), AT_ONCE):
        correlation = small @ others[start : start + AT_ONCE].T / small.shape[1]
        found.append(np.argwhere(correlation >= LEAST_CORRELATION) + np.array([0, start]))
    return np.concatenate(found) if found else np.zeros((0, 2), dtype=int)
