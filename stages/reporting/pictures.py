"""Thumbnails of crops: the crop itself, and beneath it the original image with the heatmap and the box."""

import base64
import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8
from PIL import Image

from stages.common.progress import track
from stages.sources.images import WORKERS, Box, ImageSource, Picture, resized

# Control points of the heatmap's colours, from no heat to the map's maximum: lightness rises evenly from each to the
# next, so that their order survives a colour-blind eye and a grey print.
HEAT = ((38, 8, 66), (112, 20, 110), (183, 48, 92), (229, 98, 52), (250, 165, 38), (250, 240, 130))
# Share of the heatmap's colour where it is at its maximum: the image has to stay visible beneath.
OPACITY = 0.72
GAP = 3  # transparent pixels between the crop and the image
QUALITY, EFFORT = 60, 2  # of the WebP encoder: more effort saves five per cent and takes twice as long
Heat = UInt8[np.ndarray, "rows columns"]  # 255 = the map's maximum


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
    height, width = image.shape[:2]
    scale = size / max(height, width)
    shown = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = np.array(Image.fromarray(image).resize(shown, Image.Resampling.BICUBIC))
    heated = with_heat(small, heat_on(small.shape[:2], heat, _scaled(field, scale)))
    return with_box(heated, _scaled(box, scale))


def stacked(crop: Picture, image: Picture) -> UInt8[np.ndarray, "height width 4"]:
    """Put a square crop above an image that is no larger; transparent around it, to suit light and dark pages."""
    size = len(crop)
    picture = np.zeros((2 * size + GAP, size, 4), dtype=np.uint8)
    top, left = size + GAP, (size - image.shape[1]) // 2
    for part, row, column in ((crop, 0, 0), (image, top, left)):
        place = picture[row : row + part.shape[0], column : column + part.shape[1]]
        place[..., :3], place[..., 3] = part, 255
    return picture


def data_uri(picture: UInt8[np.ndarray, "height width 4"]) -> str:
    """Encode a picture as WebP inside a ``data:`` address."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=QUALITY, method=EFFORT)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def draw_crops(
    images: ImageSource, shown: pd.DataFrame, heatmaps: Mapping[str, UInt8[np.ndarray, "crops rows columns"]], size: int
) -> list[str]:
    """Draw every crop above its original image, decoding each image once whatever the number of its crops.

    Parameters
    ----------
    images : the images, by row.
    shown : one row a crop; columns ``row`` (of its image), ``encoder``, ``crop`` (row of that encoder's heatmaps),
        ``box`` and ``field`` (tuples: left, top, right, bottom in pixels of the original).
    heatmaps : heatmaps of each encoder; 255 = the map's maximum.
    size : pixels a side of each of the two.

    Returns
    -------
    Addresses of pictures of `size` x (2 `size` + `GAP`) pixels, in the order of `shown`.
    """
    places = list(shown.reset_index(drop=True).groupby("row", sort=True).groups.items())
    crops: list[Any] = list(shown.itertuples(index=False))

    def draw(item: tuple[int, pd.Index]) -> list[tuple[int, str]]:
        image = images.load(int(item[0]))
        return [(place, data_uri(_pair(image, crops[place], heatmaps, size))) for place in item[1]]

    uris = [""] * len(crops)
    with ThreadPoolExecutor(WORKERS) as pool:
        for drawn in track(pool.map(draw, places), "Drawing crops", total=len(places)):
            for place, uri in drawn:
                uris[place] = uri
    return uris


def _pair(image: Picture, crop: Any, heatmaps: Mapping[str, np.ndarray], size: int) -> np.ndarray:
    """The crop above its original image."""
    heat = heatmaps[crop.encoder][crop.crop]
    cut_out = resized(image, size, _inside(crop.box, image.shape[1], image.shape[0]))
    return stacked(cut_out, explained_image(image, heat, crop.field, crop.box, size))
