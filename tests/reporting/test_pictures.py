"""Pictures of crops: colours in order, boxes inside, heat where the encoder looked."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages.reporting import pictures


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
    return pd.DataFrame(rows, columns=["row", "encoder", "crop", "box", "field"])


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
def test_every_image_fits_below_its_crop(shape):
    rows = shown([(0, "e", 0, (0, 0, 1, 1), (0, 0, shape[1], shape[0]))])
    picture = decoded(pictures.draw_crops(OneColour([shape]), rows, {"e": np.zeros((1, 4, 4), dtype=np.uint8)}, 32)[0])
    assert picture.shape == (64 + pictures.GAP, 32, 4)
    assert (picture[:32, :, 3] == 255).all() and (picture[32 : 32 + pictures.GAP, :, 3] == 0).all()


def test_each_image_is_loaded_once_and_pictures_keep_their_order():
    images = OneColour([(16, 16)] * 3)
    rows = shown([(row, name, 0, (0, 0, 16, 16), (0, 0, 16, 16)) for name in ("a", "b") for row in (2, 0, 1, 2)])
    heat = {"a": np.zeros((1, 2, 2), dtype=np.uint8), "b": np.zeros((1, 5, 3), dtype=np.uint8)}
    uris = pictures.draw_crops(images, rows, heat, 16)
    assert images.loads == [1, 1, 1]
    greys = [decoded(uri)[8, 8, 0] for uri in uris]
    assert np.allclose(greys, [60 * row + 20 for row in rows["row"]], atol=4)
