"""Copies of an image are found whatever its size and compression; other images are none."""

import io

import numpy as np
from PIL import Image

from falcon_dvc.images.near_copies import near_copies, small_pictures

RNG = np.random.default_rng(0)
PICTURES = [np.kron(RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8), np.ones((9, 9, 1), np.uint8)) for _ in range(20)]


def changed(picture, size=None, quality=85):
    """The picture scaled and compressed."""
    file, image = io.BytesIO(), Image.fromarray(picture)
    (image.resize(size, Image.Resampling.BICUBIC) if size else image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def test_copies_are_found_and_no_others():
    others = [changed(PICTURES[3]), *PICTURES[10:], changed(PICTURES[7], (200, 140)), np.full((9, 9, 3), 255, np.uint8)]
    found = near_copies(small_pictures(PICTURES[:10]), small_pictures(others))
    assert found.tolist() == [[3, 0], [7, 11]]


def test_flat_images_are_no_copies_of_each_other():
    flat = small_pictures([np.full((8, 8, 3), level, np.uint8) for level in (0, 128, 255)])
    assert near_copies(flat, flat).tolist() == []


def test_blocks_change_nothing(monkeypatch):
    small = small_pictures(PICTURES)
    monkeypatch.setattr("falcon_dvc.images.near_copies.AT_ONCE", 3)
    assert near_copies(small, small).tolist() == [[row, row] for row in range(20)]
    assert near_copies(small, small_pictures([])).shape == (0, 2)
