"""Pictures of crops: the crop itself, and the original image with the heatmap and the box; many in one file."""

import base64
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8
from PIL import Image

from falcon_dvc.images.decode import Box, Picture, resized
from falcon_dvc.images.source import ImageSource
from falcon_dvc.threads import WORKERS

# Control points of the heatmap's colours, from no heat to the map's maximum: lightness rises evenly from each to the
# next, so that their order survives a colour-blind eye and a grey print.
HEAT = ((38, 8, 66), (112, 20, 110), (183, 48, 92), (229, 98, 52), (250, 165, 38), (250, 240, 130))
# Share of the heatmap's colour where it is at its maximum: the image has to stay visible beneath.
OPACITY = 0.72
QUALITY, EFFORT = 52, 2  # of the WebP encoder: more effort saves five per cent and takes twice as long
Heat = UInt8[np.ndarray, "rows columns"]  # 255 = the map's maximum
Tile = UInt8[np.ndarray, "size size 4"]  # a square of a sheet
T = TypeVar("T")


def heat_colours(heat: UInt8[np.ndarray, "height width"]) -> Float[np.ndarray, "height width 3"]:
    """Colour of each value of a heatmap, by linear interpolation between the control points of `HEAT`."""
    return _colour_table()[heat]


@cache
def _colour_table() -> Float[np.ndarray, "256 3"]:
    """Colours of all the values that a byte can have."""
    points = np.linspace(0, 255, len(HEAT))
    channels = [np.interp(np.arange(256), points, channel) for channel in np.transpose(HEAT)]
    return np.stack(channels, axis=-1).astype(np.float32)


def with_heat(image: Picture, heat: UInt8[np.ndarray, "height width"]) -> Picture:
    """Lay a heatmap over an image of the same size: the more heat, the more of its colour."""
    alpha = heat[..., None] * np.float32(OPACITY / 255)
    return np.rint(image + alpha * (heat_colours(heat) - image)).astype(np.uint8)


def with_box(image: Picture, box: Box) -> Picture:
    """Draw a box of one white line with a black one inside it, cut to the image: visible on every ground."""
    left, top, right, bottom = _inside(box, image.shape[1], image.shape[0])
    framed = image.copy()
    for inset, grey in ((1, 0), (0, 255)):
        x, y, last_x, last_y = left + inset, top + inset, right - 1 - inset, bottom - 1 - inset
        if x <= last_x and y <= last_y:
            framed[[y, last_y], x : last_x + 1] = grey
            framed[y : last_y + 1, [x, last_x]] = grey
    return framed


def _inside(box: Box, width: int, height: int) -> Box:
    """Cut a box to the image, and leave it at least one pixel."""
    left, top = min(max(box[0], 0), width - 1), min(max(box[1], 0), height - 1)
    return left, top, min(max(box[2], left + 1), width), min(max(box[3], top + 1), height)


def _scaled(box: Box, scale: float) -> Box:
    """Move a box to an image that is `scale` times as large."""
    left, top, right, bottom = (round(side * scale) for side in box)
    return left, top, right, bottom


def heat_on(shape: tuple[int, int], heat: Heat, field: Box) -> UInt8[np.ndarray, "height width"]:
    """Enlarge a heatmap to the part of an image that the encoder saw; no heat outside of it.

    Parameters
    ----------
    shape : height and width of the image.
    field : what the encoder saw, in pixels of that image.
    """
    left, top, right, bottom = _inside(field, shape[1], shape[0])
    whole = np.zeros(shape, dtype=np.uint8)
    size = (right - left, bottom - top)
    enlarged = Image.fromarray(np.ascontiguousarray(heat)).resize(size, Image.Resampling.BILINEAR)
    whole[top:bottom, left:right] = np.asarray(enlarged)
    return whole


def explained_image(image: Picture, heat: Heat, field: Box, box: Box, size: int) -> Picture:
    """Scale the original image to `size` pixels on its longer side, with the heatmap and the box of the crop on it."""
    scale = size / max(image.shape[:2])
    small = whole_image(image, size)
    heated = with_heat(small, heat_on(small.shape[:2], heat, _scaled(field, scale)))
    return with_box(heated, _scaled(box, scale))


def whole_image(image: Picture, size: int) -> Picture:
    """Scale an image to `size` pixels on its longer side."""
    height, width = image.shape[:2]
    scale = size / max(height, width)
    shown = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.array(Image.fromarray(image).resize(shown, Image.Resampling.BICUBIC))


def draw_box_on(image: Picture, box: Box, size: int) -> Picture:
    """Scale an image to `size` pixels on its longer side, with a box on it."""
    return with_box(whole_image(image, size), _scaled(box, size / max(image.shape[:2])))


def tile(picture: Picture, size: int) -> Tile:
    """Put a picture that is no larger into the middle of a transparent square, to suit light and dark pages."""
    square = np.zeros((size, size, 4), dtype=np.uint8)
    top, left = (size - picture.shape[0]) // 2, (size - picture.shape[1]) // 2
    place = square[top : top + picture.shape[0], left : left + picture.shape[1]]
    place[..., :3], place[..., 3] = picture, 255
    return square


def cut_out(image: Picture, box: Box, size: int) -> Picture:
    """The part of an image inside a box, as a square of `size` pixels."""
    return resized(image, size, _inside(box, image.shape[1], image.shape[0]))


def sheet(tiles: Sequence[Tile], columns: int) -> UInt8[np.ndarray, "height width 4"]:
    """Lay tiles of one size side by side, row after row; what is left over stays transparent."""
    size, rows = len(tiles[0]), -(-len(tiles) // columns)
    laid = np.zeros((rows * size, columns * size, 4), dtype=np.uint8)
    for place, some in enumerate(tiles):
        top, left = (size * part for part in divmod(place, columns))
        laid[top : top + size, left : left + size] = some
    return laid


def webp(picture: UInt8[np.ndarray, "height width channels"]) -> bytes:
    """Encode a picture; the same bytes every time."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=QUALITY, method=EFFORT)
    return buffer.getvalue()


def data_uri(picture: UInt8[np.ndarray, "height width channels"]) -> str:
    """Encode a picture as WebP inside a ``data:`` address."""
    return "data:image/webp;base64," + base64.b64encode(webp(picture)).decode("ascii")


def for_each_image(images: ImageSource, rows: Sequence[int], draw: Callable[[Picture, int], T]) -> list[T]:
    """Call ``draw(image, place)`` for every place of `rows`, decoding each image once, several at a time.

    Returns
    -------
    What `draw` gave, in the order of `rows`.
    """
    places = pd.Series(np.arange(len(rows))).groupby(np.asarray(rows, dtype=int), sort=True).groups

    def draw_all(item: tuple[Any, Any]) -> list[tuple[int, T]]:
        image = images.load(int(item[0]))
        return [(int(place), draw(image, int(place))) for place in item[1]]

    with ThreadPoolExecutor(WORKERS) as pool:
        drawn = dict(pair for pairs in pool.map(draw_all, places.items()) for pair in pairs)
    return [drawn[place] for place in range(len(rows))]


def draw_crops(
    images: ImageSource, shown: pd.DataFrame, heat: UInt8[np.ndarray, "crops rows columns"], size: int
) -> list[tuple[Tile, Tile]]:
    """Draw every crop, and its original image with heatmap and box.

    Parameters
    ----------
    images : the images, by row.
    shown : one row a crop; columns ``row`` (of its image), ``crop`` (row of `heat`), ``box`` and ``field`` (tuples:
        left, top, right, bottom in pixels of the original).
    heat : heatmaps; 255 = the map's maximum.
    size : pixels a side of each of the two.
    """
    crops: list[Any] = list(shown.itertuples(index=False))

    def draw(image: Picture, place: int) -> tuple[Tile, Tile]:
        crop = crops[place]
        whole = explained_image(image, heat[crop.crop], crop.field, crop.box, size)
        return tile(cut_out(image, crop.box, size), size), tile(whole, size)

    return for_each_image(images, [crop.row for crop in crops], draw)
