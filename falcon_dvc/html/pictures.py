"""Draw crops, and their original images with heatmap and box, as tiles of larger pictures."""

import base64
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8
from PIL import Image

from falcon_dvc.images.decode import Box, Picture, resized
from falcon_dvc.images.source import ImageSource
from falcon_dvc.threads import WORKERS

# Control points of the heatmap's colours, from no heat to the map's maximum. Lightness rises evenly, so that
# colour-blind people and grey prints show the same order.
HEAT = ((38, 8, 66), (112, 20, 110), (183, 48, 92), (229, 98, 52), (250, 165, 38), (250, 240, 130))
# Share of the heatmap's colour at its maximum: the image below must stay visible.
OPACITY = 0.72
GREY = 128  # where a contact sheet has no picture: neither light nor dark
QUALITY, EFFORT = 52, 2  # of the WebP encoder: more effort saves 5 % of the size and takes twice as long
Heat = UInt8[np.ndarray, "rows columns"]  # 255 = the map's maximum
Tile = UInt8[np.ndarray, "size size 4"]  # a square of a larger picture
T = TypeVar("T")


def heat_colours(heat: UInt8[np.ndarray, "height width"]) -> Float[np.ndarray, "height width 3"]:
    """Compute the colour of each value by linear interpolation between the control points `HEAT`."""
    return _colour_table()[heat]


@cache
def _colour_table() -> Float[np.ndarray, "256 3"]:
    """Compute the colours of all values of a byte."""
    points = np.linspace(0, 255, len(HEAT))
    channels = [np.interp(np.arange(256), points, channel) for channel in np.transpose(HEAT)]
    return np.stack(channels, axis=-1).astype(np.float32)


def with_heat(image: Picture, heat: UInt8[np.ndarray, "height width"]) -> Picture:
    """Blend a heatmap over an image of the same size; opacity is proportional to the heat."""
    alpha = heat[..., None] * np.float32(OPACITY / 255)
    return np.rint(image + alpha * (heat_colours(heat) - image)).astype(np.uint8)


def with_box(image: Picture, box: Box) -> Picture:
    """Draw a box, clipped to the image: a white line and a black line inside it, visible on any background."""
    left, top, right, bottom = _inside(box, image.shape[1], image.shape[0])
    framed = image.copy()
    for inset, grey in ((1, 0), (0, 255)):
        x, y, last_x, last_y = left + inset, top + inset, right - 1 - inset, bottom - 1 - inset
        if x <= last_x and y <= last_y:
            framed[[y, last_y], x : last_x + 1] = grey
            framed[y : last_y + 1, [x, last_x]] = grey
    return framed


def _inside(box: Box, width: int, height: int) -> Box:
    """Clip a box to the image; the result has at least one pixel."""
    left, top = min(max(box[0], 0), width - 1), min(max(box[1], 0), height - 1)
    return left, top, min(max(box[2], left + 1), width), min(max(box[3], top + 1), height)


def _scaled(box: Box, scale: float) -> Box:
    """Scale a box for an image that is `scale` times as large."""
    left, top, right, bottom = (round(side * scale) for side in box)
    return left, top, right, bottom


def heat_on(shape: tuple[int, int], heat: Heat, field: Box) -> UInt8[np.ndarray, "height width"]:
    """Resize a heatmap to the part of an image that the encoder sees; the heat outside is 0.

    Parameters
    ----------
    shape : height and width of the image.
    field : the part that the encoder sees, in pixels of that image.
    """
    left, top, right, bottom = _inside(field, shape[1], shape[0])
    whole = np.zeros(shape, dtype=np.uint8)
    size = (right - left, bottom - top)
    enlarged = Image.fromarray(np.ascontiguousarray(heat)).resize(size, Image.Resampling.BILINEAR)
    whole[top:bottom, left:right] = np.asarray(enlarged)
    return whole


def explained_image(image: Picture, heat: Heat, field: Box, box: Box, size: int) -> Picture:
    """Scale an image to `size` pixels on its longer side, and draw the heatmap and the box of the crop on it."""
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
    """Scale an image to `size` pixels on its longer side, and draw a box on it."""
    return with_box(whole_image(image, size), _scaled(box, size / max(image.shape[:2])))


def tile(picture: Picture, size: int) -> Tile:
    """Centre a picture on a transparent square, to suit light and dark pages; the square must not be smaller."""
    square = np.zeros((size, size, 4), dtype=np.uint8)
    top, left = (size - picture.shape[0]) // 2, (size - picture.shape[1]) // 2
    place = square[top : top + picture.shape[0], left : left + picture.shape[1]]
    place[..., :3], place[..., 3] = picture, 255
    return square


def cut_out(image: Picture, box: Box, size: int) -> Picture:
    """Cut out a box of an image as a square of `size` pixels."""
    return resized(image, size, _inside(box, image.shape[1], image.shape[0]))


def sheet(tiles: Sequence[Tile], columns: int) -> UInt8[np.ndarray, "height width 4"]:
    """Arrange tiles of one size in rows of `columns`; the rest of the last row is transparent."""
    size, rows = len(tiles[0]), -(-len(tiles) // columns)
    picture = np.zeros((rows * size, columns * size, 4), dtype=np.uint8)
    for place, square in enumerate(tiles):
        row, column = divmod(place, columns)
        picture[row * size : (row + 1) * size, column * size : (column + 1) * size] = square
    return picture


def webp(picture: UInt8[np.ndarray, "height width channels"]) -> bytes:
    """Encode a picture as WebP; equal pictures give equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=QUALITY, method=EFFORT)
    return buffer.getvalue()


def contact_sheet(pictures: Sequence[Picture], columns: int) -> Picture:
    """Arrange square pictures of one size in rows of `columns`; the rest of the last row is grey."""
    size, rows = len(pictures[0]), -(-len(pictures) // columns)
    whole = np.full((rows * columns, size, size, 3), GREY, dtype=np.uint8)
    whole[: len(pictures)] = pictures
    return whole.reshape(rows, columns, size, size, 3).swapaxes(1, 2).reshape(rows * size, columns * size, 3)


def jpeg(picture: Picture) -> bytes:
    """Encode a picture as JPEG, ten times as fast as WebP; equal pictures give equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def data_uri(picture: UInt8[np.ndarray, "height width channels"]) -> str:
    """Encode a picture as WebP in a ``data:`` URI."""
    return "data:image/webp;base64," + base64.b64encode(webp(picture)).decode("ascii")


def for_each_image(images: ImageSource, rows: Sequence[int], draw: Callable[[Picture, int], T]) -> list[T]:
    """Call ``draw(image, place)`` for every place of `rows` in parallel, and decode each image once.

    Returns
    -------
    The results of `draw` in the order of `rows`.
    """
    places = pd.Series(np.arange(len(rows))).groupby(np.asarray(rows, dtype=int), sort=True).groups

    def draw_all(item: tuple[Any, Any]) -> list[tuple[int, T]]:
        image = images.load(int(item[0]))
        return [(int(place), draw(image, int(place))) for place in item[1]]

    with ThreadPoolExecutor(WORKERS) as pool:
        drawn = dict(pair for pairs in pool.map(draw_all, places.items()) for pair in pairs)
    return [drawn[place] for place in range(len(rows))]


def with_boxes(
    crops: pd.DataFrame, rows: Int[np.ndarray, " crops"], fields: Int[np.ndarray, "images 4"]
) -> pd.DataFrame:
    """Add the columns ``row``, ``box`` and ``field`` of `draw_crops`.

    Parameters
    ----------
    crops : one row for each crop; columns ``left``, ``top``, ``right``, ``bottom``.
    rows : row of the image of each crop.
    fields : what the encoder sees of each image.
    """
    boxes = crops[["left", "top", "right", "bottom"]].to_numpy()
    tuples = ([tuple(box) for box in sides.tolist()] for sides in (boxes, fields[rows]))
    return crops.assign(row=rows, **dict(zip(("box", "field"), tuples, strict=True)))


def cut_outs(images: ImageSource, crops: pd.DataFrame, size: int) -> list[Picture]:
    """Cut out every crop as a square of `size` pixels.

    Parameters
    ----------
    crops : one row for each crop; columns ``row`` (of its image), ``left``, ``top``, ``right``, ``bottom``.
    """
    boxes = crops[["left", "top", "right", "bottom"]].to_numpy().tolist()
    rows = crops["row"].tolist()
    return for_each_image(images, rows, lambda image, place: cut_out(image, tuple(boxes[place]), size))


def boxed_images(images: ImageSource, crops: pd.DataFrame, size: int) -> list[Tile]:
    """Draw the whole image of every crop as a tile of `size` pixels, with the box of the crop unless it is the whole image.

    Parameters
    ----------
    crops : as for `cut_outs`.
    """
    boxes = crops[["left", "top", "right", "bottom"]].to_numpy().tolist()

    def draw(image: Picture, place: int) -> Tile:
        left, top, right, bottom = boxes[place]
        whole = (left, top, right, bottom) == (0, 0, image.shape[1], image.shape[0])
        return tile(whole_image(image, size) if whole else draw_box_on(image, (left, top, right, bottom), size), size)

    return for_each_image(images, crops["row"].tolist(), draw)


def draw_crops(
    images: ImageSource, shown: pd.DataFrame, heat: UInt8[np.ndarray, "crops rows columns"], size: int
) -> list[tuple[Tile, Tile]]:
    """Draw every crop, and its original image with heatmap and box.

    Parameters
    ----------
    images : the images, by row.
    shown : one row for each crop. Columns: ``row`` (of its image), ``crop`` (row of `heat`), ``box`` and ``field``
        (left, top, right, bottom in pixels of the original).
    heat : heatmaps; 255 = the map's maximum.
    size : side of each tile in pixels.
    """
    crops: list[Any] = list(shown.itertuples(index=False))

    def draw(image: Picture, place: int) -> tuple[Tile, Tile]:
        crop = crops[place]
        whole = explained_image(image, heat[crop.crop], crop.field, crop.box, size)
        return tile(cut_out(image, crop.box, size), size), tile(whole, size)

    return for_each_image(images, [crop.row for crop in crops], draw)
