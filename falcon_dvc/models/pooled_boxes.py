"""Pool a map over boxes of its image: what a network sees in a crop, from one pass over the whole image."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

Boxes = Int[np.ndarray, "boxes 4"]


def box_weights(
    boxes: Boxes, field: tuple[int, int, int, int], rows: int, columns: int
) -> Float[np.ndarray, "boxes rows*columns"]:
    """Compute the share of each cell of a map in each box: its area inside the box, scaled to a sum of 1.

    Parameters
    ----------
    boxes : left, top, right, bottom in pixels.
    field : the box that the map covers, in the same pixels. A box that lies outside has the cells nearest to it.
    rows, columns : of the map.
    """
    left, top, right, bottom = field
    across = _overlaps(boxes[:, 0], boxes[:, 2], left, right, columns)
    down = _overlaps(boxes[:, 1], boxes[:, 3], top, bottom, rows)
    return (down[:, :, None] * across[:, None, :]).reshape(len(boxes), rows * columns)


def _overlaps(
    start: Int[np.ndarray, " boxes"], stop: Int[np.ndarray, " boxes"], first: int, last: int, cells: int
) -> Float[np.ndarray, "boxes cells"]:
    """Compute the share of each cell in each interval, along one side."""
    edges = np.linspace(first, last, cells + 1)
    # At least a thousandth of a cell, at the nearest edge, for an interval outside.
    least = (last - first) / cells / 1000
    start = np.clip(start, first, last - least)
    stop = np.maximum(np.clip(stop, first, last), start + least)
    inside = np.minimum(stop[:, None], edges[None, 1:]) - np.maximum(start[:, None], edges[None, :-1])
    inside = np.maximum(inside, 0)
    return inside / inside.sum(axis=1, keepdims=True)


def pooled(
    maps: Float[np.ndarray, "features rows columns"], weights: Float[np.ndarray, "boxes rows*columns"]
) -> Float[np.ndarray, "boxes features"]:
    """Compute the features of each box: the mean of the map, weighted by the shares of its cells."""
    return weights @ maps.reshape(len(maps), -1).T
