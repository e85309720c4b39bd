"""Pictures that are the same, and pictures without colour."""

import numpy as np
import pytest
from PIL import Image

from falcon_dvc.images.contents import fingerprint, is_grey
from falcon_dvc.images.open import list_source
from tests.support.image_sources import as_folder, as_list
from tests.support.sample_images import coloured


def picture(pixels):
    return Image.fromarray(np.asarray(pixels, dtype=np.uint8))


def test_a_fingerprint_depends_on_size_and_pixels_alone():
    tall = np.random.default_rng(0).integers(0, 256, (130, 6, 3))
    assert fingerprint(picture(tall)) == fingerprint(picture(tall.copy()))
    assert fingerprint(picture(tall)) != fingerprint(picture(tall.reshape(65, 12, 3)))
    other = tall.copy()
    other[129, 4, 2] ^= 1
    assert fingerprint(picture(tall)) != fingerprint(picture(other))


def test_copies_of_a_large_picture_have_one_fingerprint_and_another_picture_has_not():
    large = np.random.default_rng(0).integers(0, 256, (1000, 3, 3))
    assert fingerprint(picture(large)) == fingerprint(picture(large.copy())) != fingerprint(picture(large[::-1]))


def test_grey_is_what_has_no_colour_up_to_compression():
    grey = np.repeat(np.random.default_rng(0).integers(0, 250, (40, 30, 1)), 3, axis=2)
    assert is_grey(picture(grey)) and is_grey(picture(grey + np.array([0, 3, 1])))
    grey[:, :15, 0] = 255
    assert not is_grey(picture(grey))


@pytest.mark.parametrize("make", [as_folder, as_list])
def test_copies_and_grey_pictures_are_counted(tmp_path, make):
    pictures = {"a": coloured(1), "b": coloured(200), "c": coloured(1), "d": coloured(1)}
    listing = list_source(make(tmp_path / "some", pictures))
    assert (listing.identical, listing.grey) == (2, 3)
