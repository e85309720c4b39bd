"""Pictures of crops: colours in order, boxes inside, heat where the encoder looked."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from falcon_dvc.html import pictures


class OneColour:
    """Images of one colour that count how often each is loaded."""

    def __init__(self, shapes):
        self.shapes, self.loads = shapes, [0] * len(shapes)

    def __len__(self):
        return len(self.shapes)

    def load(self, row):
        self.loads[row] += 1
        return np.full((*self.shapes[row], 3), 60 * row + 20, dtype=np.uint8)

    def load_many(self, rows, workers=1):
        return [self.load(row) for row in rows]


def decoded(uri):
    kind, content = uri.split(",", 1)
    assert kind == "data:image/webp;base64"
    return np.array(Image.open(io.BytesIO(base64.b64decode(content))))


def shown(rows):
    return pd.DataFrame(rows, columns=["row", "crop", "box", "field"])


def test_heat_colours_grow_lighter_with_heat():
    lightness = pictures.heat_colours(np.arange(256, dtype=np.uint8)[None]) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness[0]) > 0).all()


def test_no_heat_leaves_the_image():
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    assert (pictures.with_heat(image, np.zeros((9, 7), dtype=np.uint8)) == image).all()


def test_heat_stays_in_the_field_of_the_encoder():
    heat = pictures.heat_on((20, 40), np.full((3, 3), 255, dtype=np.uint8), (10, 0, 30, 20))
    assert (heat[:, 10:30] == 255).all() and heat.sum() == 255 * 400


@pytest.mark.parametrize("box", [(0, 0, 8, 8), (2, 3, 3, 4), (7, 7, 8, 8), (-5, -5, 99, 99), (8, 8, 9, 9)])
def test_box_is_drawn_inside_the_image(box):
    image = np.full((8, 8, 3), 128, dtype=np.uint8)
    framed = pictures.with_box(image, box)
    assert framed.shape == image.shape and (framed != image).any() and (image == 128).all()


@pytest.mark.parametrize("shape", [(30, 90), (90, 30), (32, 32), (1, 200)])
def test_every_image_fits_its_tile(shape):
    crop = [(0, 0, (0, 0, 1, 1), (0, 0, shape[1], shape[0]))]
    ((cut, whole),) = pictures.draw_crops(OneColour([shape]), shown(crop), np.zeros((1, 4, 4), dtype=np.uint8), 32)
    assert cut.shape == whole.shape == (32, 32, 4) and (cut[..., 3] == 255).all()
    opaque = whole[..., 3] == 255
    assert opaque.any(axis=1).sum() == max(round(32 * shape[0] / max(shape)), 1)
    assert opaque.any(axis=0).sum() == max(round(32 * shape[1] / max(shape)), 1)


def test_each_image_is_loaded_once_and_pictures_keep_their_order():
    images = OneColour([(16, 16)] * 3)
    rows = shown([(row, crop, (0, 0, 16, 16), (0, 0, 16, 16)) for crop, row in enumerate((2, 0, 1, 2, 2, 0))])
    drawn = pictures.draw_crops(images, rows, np.zeros((6, 5, 3), dtype=np.uint8), 16)
    assert images.loads == [1, 1, 1]
    assert [cut[8, 8, 0] for cut, _ in drawn] == [60 * row + 20 for row in rows["row"]]


def test_a_sheet_lays_its_tiles_row_after_row():
    tiles = [np.full((4, 4, 4), 10 * place, dtype=np.uint8) for place in range(5)]
    laid = pictures.sheet(tiles, 3)
    assert laid.shape == (8, 12, 4)
    assert laid[0, 8, 0] == 20 and laid[4, 4, 0] == 40 and not laid[4:, 8:].any()


def test_a_contact_sheet_lays_its_pictures_row_after_row_and_is_grey_at_the_end():
    rows = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3)).astype(np.uint8)
    found = pictures.contact_sheet(list(rows), 3)
    assert found.shape == (8, 12, 3) and (found[4:, 4:8] == rows[4]).all() and (found[4:, 8:] == pictures.GREY).all()
    assert pictures.jpeg(found) == pictures.jpeg(found)
    assert Image.open(io.BytesIO(pictures.jpeg(found))).size == (12, 8)


def test_pictures_have_the_same_bytes_every_time():
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 4)).astype(np.uint8)
    assert pictures.webp(picture) == pictures.webp(picture)
    assert decoded(pictures.data_uri(picture)).shape == picture.shape
