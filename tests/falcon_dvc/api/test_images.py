"""Images of a notebook become RGB arrays, or are refused with their number."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from falcon_dvc.api.images import pictures
from falcon_dvc.errors import UserError
from tests.support.sample_images import NOISE, SAMPLES


@pytest.mark.parametrize(
    "images",
    [
        [NOISE],
        (image for image in [NOISE]),
        NOISE[None],
        [Image.fromarray(NOISE)],
        [Image.open(io.BytesIO(SAMPLES["noise"]))],
        torch.from_numpy(NOISE).permute(2, 0, 1)[None],
        torch.from_numpy(NOISE).permute(2, 0, 1)[None] / 255,
        (torch.from_numpy(NOISE).permute(2, 0, 1)[None] / 255).requires_grad_(),
    ],
    ids=["array", "generator", "batch", "PIL", "file", "bytes tensor", "tensor", "with gradient"],
)
def test_every_kind_gives_the_same_pixels(images):
    (found,) = pictures(images)
    assert found.dtype == np.uint8 and np.array_equal(found, NOISE)


def test_grey_and_transparent_images_become_rgb():
    grey, alone, transparent = pictures([NOISE[..., 0], NOISE[..., :1], np.zeros((2, 3, 4), dtype=np.uint8)])
    assert np.array_equal(grey, alone) and np.array_equal(grey, np.repeat(NOISE[..., :1], 3, axis=2))
    assert transparent.tolist() == [[[255, 255, 255]] * 3] * 2


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([NOISE, NOISE / 255], "images: number 1 is float64 of shape"),
        ([NOISE, None], "images: number 1 is a NoneType"),
        ([NOISE[:0]], "images: number 0 is uint8 of shape"),
        ([np.zeros((2, 3, 5), dtype=np.uint8)], "images: number 0 is uint8 of shape"),
        ([NOISE, Image.open(io.BytesIO(SAMPLES["noise"][:60]))], "images: number 1 cannot be decoded"),
        (torch.zeros(2, 5, 5, 3), "images: a tensor of shape"),
        (torch.full((1, 3, 2, 2), 2.5), "images: numbers outside 0 to 1"),
        (torch.full((1, 3, 2, 2), np.nan), "images: numbers outside 0 to 1"),
        (7, "images: a int"),
    ],
)
def test_others_are_refused(images, message):
    with pytest.raises(UserError, match=f"^{message}"):
        pictures(images)
