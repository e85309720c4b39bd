"""Locate where in an image a group fires (step 4), and find the box around it (step 5)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage, sparse

Heatmaps = Float[np.ndarray, "crops height width"]
Boxes = Int[np.ndarray, "crops 4"]

CROPS_AT_ONCE = 4096  # crops whose enlarged heatmaps are in memory


def heatmaps_of(
    maps: Float[np.ndarray, "crops features height width"], directions: Float[np.ndarray, "*crops features"]
) -> Heatmaps:
    """Compute Grad-CAM of a direction in a globally average-pooled space, in closed form.

    The gradient of a mean over positions is the same at every position. So Grad-CAM of ``sum_j d_j h_j`` is
    ``ReLU(sum_j d_j A_j)`` of the last activation map. A group is the direction of ones on its members.

    Parameters
    ----------
    directions : one direction for all crops, or one for each crop.
    """
    crops, features, height, width = maps.shape
    weights = np.broadcast_to(directions, (crops, features)).astype(np.float32)[:, None, :]
    summed = weights @ maps.reshape(crops, features, height * width).astype(np.float32)
    return np.maximum(summed.reshape(crops, height, width), 0)


def group_heatmaps(
    maps: Float[np.ndarray, "images features height width"],
    images: Int[np.ndarray, " crops"],
    members: sparse.csr_array,
) -> Heatmaps:
    """Compute the heatmaps of many groups at once; only the maps of their members are read.

    Parameters
    ----------
    maps : activation maps, memory-mapped. Two bytes for each cell are read for each member of each crop.
    images : each crop's row in `maps`.
    members : sparse 0/1, crops x features.
    """
    crop, feature = members.nonzero()
    total = np.zeros((len(images), *maps.shape[2:]), dtype=np.float32)
    np.add.at(total, crop, maps[images[crop], feature].astype(np.float32))
    return np.maximum(total, 0)


def enlarged(heatmaps: Heatmaps, height: int, width: int) -> Heatmaps:
    """Interpolate heatmaps bilinearly to `height` x `width`, with pixel centres aligned."""
    rows = _interpolation(heatmaps.shape[1], height)
    columns = _interpolation(heatmaps.shape[2], width)
    return np.einsum("Hh,nhw,Ww->nHW", rows, heatmaps, columns, optimize=True)


def _interpolation(size: int, target: int) -> Float[np.ndarray, "target size"]:
    """Return interpolation weights; row i holds the two weights of pixel i of the target."""
    centre = np.clip((np.arange(target) + 0.5) * size / target - 0.5, 0, size - 1)
    low = np.minimum(centre.astype(int), max(size - 2, 0))
    weights = np.zeros((target, size))
    np.add.at(weights, (np.arange(target), low), 1 - (centre - low))
    np.add.at(weights, (np.arange(target), np.minimum(low + 1, size - 1)), centre - low)
    return weights


def empty(heatmaps: Heatmaps) -> Bool[np.ndarray, " crops"]:
    """Find the heatmaps without a positive value: the group does not fire in the image."""
    return np.logical_not((heatmaps > 0).any(axis=(1, 2)))


def boxes_of(heatmaps: Heatmaps, threshold: float) -> Boxes:
    """Find the box (left, top, right, bottom) around the largest region at or above `threshold` of the maximum.

    One call labels all images. Of two equally large regions, the first in reading order counts. An empty heatmap gives
    the whole map.
    """
    peak = heatmaps.max(axis=(1, 2), keepdims=True, initial=0)
    labels, count = ndimage.label((heatmaps >= threshold * peak) & (peak > 0), structure=_in_plane())
    boxes = np.tile([0, 0, heatmaps.shape[2], heatmaps.shape[1]], (len(heatmaps), 1))
    if count:
        regions = ndimage.find_objects(labels)
        for image, label in enumerate(_largest(labels, regions, count)):
            if label:
                _, rows, columns = regions[label - 1]
                boxes[image] = columns.start, rows.start, columns.stop, rows.stop
    return boxes


def _in_plane() -> np.ndarray:
    """Return the connectivity: four neighbours inside an image, none between images."""
    structure = np.zeros((3, 3, 3), dtype=bool)
    structure[1] = ndimage.generate_binary_structure(2, 1)
    return structure


def _largest(labels: np.ndarray, regions: list, count: int) -> Int[np.ndarray, " crops"]:
    """Find the label of each image's largest region; 0 where there is none."""
    size = np.bincount(labels.reshape(-1), minlength=count + 1)[1:]
    image = np.array([region[0].start for region in regions])
    order = np.lexsort((np.arange(count), -size, image))
    first = order[np.unique(image[order], return_index=True)[1]]
    largest = np.zeros(len(labels), dtype=int)
    largest[image[first]] = first + 1
    return largest


def on_image(boxes: Boxes, grid: tuple[int, int], fields: Boxes) -> Boxes:
    """Scale boxes from a heatmap of height and width `grid` to the region of the image that the encoder saw.

    `fields` holds this region of each original image, in pixels.
    """
    # Integers avoid rounding errors that would place a box one pixel outside the field.
    boxes, fields = np.asarray(boxes, dtype=np.int64), np.asarray(fields, dtype=np.int64)
    (height, width), across, down = grid, fields[:, 2] - fields[:, 0], fields[:, 3] - fields[:, 1]
    left, right = fields[:, 0] + boxes[:, 0] * across // width, fields[:, 0] - (-boxes[:, 2] * across) // width
    top, bottom = fields[:, 1] + boxes[:, 1] * down // height, fields[:, 1] - (-boxes[:, 3] * down) // height
    return np.column_stack([left, top, right, bottom])


def squares(boxes: Boxes, shape: tuple[Int[np.ndarray, " crops"] | int, ...], margin: float, min_size: float) -> Boxes:
    """Grow boxes to squares with a margin and a minimum size.

    A square is moved inside the image, and cut if it is larger than the image.

    Parameters
    ----------
    boxes : in pixels of an image.
    shape : height and width of this image, or of each image.
    margin : added on each side, as a share of the longer side.
    min_size : smallest side, as a share of the image's shorter side.
    """
    height, width = shape
    longer = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    side = np.ceil(np.maximum(longer * (1 + 2 * margin), min_size * np.minimum(height, width))).astype(int)
    left, right = _placed((boxes[:, 0] + boxes[:, 2]) / 2, np.minimum(side, width), width)
    top, bottom = _placed((boxes[:, 1] + boxes[:, 3]) / 2, np.minimum(side, height), height)
    return np.column_stack([left, top, right, bottom])


def moved_to_image(boxes: Boxes, shape: tuple[np.ndarray, np.ndarray], onto: tuple[np.ndarray, np.ndarray]) -> Boxes:
    """Move boxes to the same place of other images, with the same size relative to the shorter side.

    A moved box is at least one pixel wide.

    Parameters
    ----------
    boxes : squares in pixels of images whose heights and widths are `shape`.
    onto : heights and widths of the other images.
    """
    (height, width), (new_height, new_width) = shape, onto
    share = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) / np.minimum(height, width)
    side = np.maximum(np.rint(share * np.minimum(new_height, new_width)), 1).astype(int)
    across = (boxes[:, 0] + boxes[:, 2]) / 2 / width * new_width
    down = (boxes[:, 1] + boxes[:, 3]) / 2 / height * new_height
    left, right = _placed(across, np.minimum(side, new_width), new_width)
    top, bottom = _placed(down, np.minimum(side, new_height), new_height)
    return np.column_stack([left, top, right, bottom])


def _placed(centre: np.ndarray, side: np.ndarray, limit: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """Place an interval of length `side` around `centre`, moved inside [0, limit]."""
    start = np.clip(np.floor(centre - side / 2).astype(int), 0, limit - side)
    return start, start + side


@dataclass(frozen=True)
class CropRule:
    """Hold the parameters that turn a heatmap into a crop; see `mine_crops` in params.yaml."""

    crop: bool
    threshold: float
    margin: float
    min_size: float
    finer: int = 4  # factor by which a heatmap is enlarged before its box is found, as in Grad-CAM


def crop_boxes(heatmaps: Heatmaps, fields: Boxes, shape: tuple[np.ndarray, np.ndarray], rule: CropRule) -> Boxes:
    """Compute the square crop of each original image around the positions that fired.

    The crop is the whole image if nothing fired, or if cropping is off.

    Parameters
    ----------
    fields : region of each image that the encoder saw, in pixels.
    shape : heights and widths of the images.
    """
    height, width = shape
    whole = np.column_stack([np.zeros_like(width), np.zeros_like(height), width, height])
    if not rule.crop:
        return whole
    grid = heatmaps.shape[1] * rule.finer, heatmaps.shape[2] * rule.finer
    blocks = [slice(start, start + CROPS_AT_ONCE) for start in range(0, max(len(heatmaps), 1), CROPS_AT_ONCE)]
    boxes = np.concatenate(
        [on_image(boxes_of(enlarged(heatmaps[block], *grid), rule.threshold), grid, fields[block]) for block in blocks]
    )
    return np.where(empty(heatmaps)[:, None], whole, squares(boxes, shape, rule.margin, rule.min_size))


def as_bytes(heatmaps: Heatmaps) -> UInt8[np.ndarray, "crops height width"]:
    """Scale each heatmap to a maximum of 255; an empty one stays zero."""
    scaled = np.empty(heatmaps.shape, dtype=np.uint8)
    for start in range(0, len(heatmaps), CROPS_AT_ONCE):
        block = heatmaps[start : start + CROPS_AT_ONCE]
        peak = block.max(axis=(1, 2), keepdims=True, initial=0)
        share = np.divide(block, peak, out=np.zeros_like(block), where=peak > 0)
        scaled[start : start + CROPS_AT_ONCE] = np.rint(255 * share)
    return scaled
