"""Values of more than 8 bits: the smallest usual depth that holds them decides, in every format, grey or coloured."""

import io

import numpy as np
import pytest
from PIL import Image

from falcon_dvc.api.images import pictures
from falcon_dvc.images.decode import decoded
from falcon_dvc.images.depth import as_bytes
from tests.support.damaged_pictures import deep_png, deep_tiff
from tests.support.sample_images import encoded

BITS = (8, 10, 12, 14, 16)


def values(bits: int, *shape: int) -> np.ndarray:
    """Random values whose largest has all bits set."""
    array = np.random.default_rng(bits).integers(0, 2**bits, (5, 6, *shape)).astype(np.uint16)
    array[0, 0] = 2**bits - 1
    return array


def read(content: bytes) -> np.ndarray:
    return np.asarray(decoded(io.BytesIO(content)))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG2000", "PPM"])
def test_grey_of_any_depth_in_16_bits(kind, bits):
    grey = values(bits)
    assert np.array_equal(read(encoded(Image.fromarray(grey), kind))[..., 0], grey >> (bits - 8))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("make", [deep_png, deep_tiff])
def test_colours_of_any_depth_in_16_bits(make, bits):
    colours = values(bits, 3)
    assert np.array_equal(read(make(colours)), colours >> (bits - 8))


@pytest.mark.parametrize("opaque", [4095, 65535])
def test_transparency_has_a_depth_of_its_own(opaque):
    colours = values(12, 3)
    alpha = np.full((5, 6, 1), opaque, dtype=np.uint16)
    assert np.array_equal(read(deep_png(np.concatenate([colours, alpha], axis=2))), colours >> 4)
    grey = read(deep_png(np.concatenate([colours[..., :1], alpha * 0 + 65535], axis=2)))[..., :1]
    assert (
        np.abs(grey.astype(int) - (colours[..., :1] >> 4)).max() < 16
    )  # Pillow keeps only the high byte of grey with alpha


@pytest.mark.parametrize("bits", BITS)
def test_integers_of_32_bits_follow_the_same_rule(bits):
    grey = values(bits).astype(np.int32)
    assert np.array_equal(read(encoded(Image.fromarray(grey), "TIFF"))[..., 0], grey >> (bits - 8))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([-1000, 500, 2000], [0, 128, 255]),  # Hounsfield units
        ([0, 50_000, 100_000], [0, 128, 255]),  # depth in tenths of a millimetre
        ([0, 0, 0], [0, 0, 0]),
        ([7, 7, 7], [7, 7, 7]),
    ],
)
def test_negative_and_large_integers_are_scaled_from_their_own_range(given, expected):
    assert as_bytes(np.array([given], dtype=np.int32)).tolist() == [expected]


def test_a_notebook_reads_the_same():
    grey, colours = values(12), values(12, 3)
    from_pillow, from_array, from_file, deep = pictures(
        [Image.fromarray(grey), grey, Image.open(io.BytesIO(deep_png(colours))), colours]
    )
    assert np.array_equal(from_pillow[..., 0], grey >> 4) and np.array_equal(from_array, from_pillow)
    assert np.array_equal(from_file, colours >> 4) and np.array_equal(deep, from_file)
