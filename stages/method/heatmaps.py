"""Where in an image a group fires (step 4), and the box around it (step 5)."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

Heatmaps = Float[np.ndarray, "crops height width"]
Boxes = Int[np.ndarray, "crops 4"]


def heatmaps_of(maps: Float[np.ndarray, "crops features height width"], direction: Float[np.ndarray, " features"]) -> Heatmaps:
    """Grad-CAM of a direction in a globally average-pooled space, in closed form.

    The gradient of a mean over positions is the same at every position, so Grad-CAM of ``sum_j d_j h_j`` is
    ``ReLU(sum_j d_j A_j)`` of the last activation map. A group is the direction of ones on its members.
    """
    kept = np.flatnonzero(direction)
    return np.maximum(np.einsum("nfhw,f->nhw", maps[:, kept].astype(np.float32), direction[kept].astype(np.float32)), 0)


def enlarged(heatmaps: Heatmaps, height: int, width: int) -> Heatmaps:
    """Bilinear interpolation to `height` x `width`, pixel centres aligned."""
    rows = _interpolation(heatmaps.shape[1], height)
    columns = _interpolation(heatmaps.shape[2], width)
    return np.einsum("Hh,nhw,Ww->nHW", rows, heatmaps, columns, optimize=True)


def _interpolation(size: int, target: int) -> Float[np.ndarray, "target size"]:
    """Row i holds the two weights of the target's pixel i."""
    centre = np.clip((np.arange(target) + 0.5) * size / target - 0.5, 0, size - 1)
    low = np.minimum(centre.astype(int), max(size - 2, 0))
    weights = np.zeros((target, size))
    np.add.at(weights, (np.arange(target), low), 1 - (centre - low))
    np.add.at(weights, (np.arange(target), np.minimum(low + 1, size - 1)), centre - low)
    return weights


def empty(heatmaps: Heatmaps) -> Bool[np.ndarray, " crops"]:
    """Heatmaps without a positive value: the group fires nowhere in that image."""
    return ~(heatmaps > 0).any(axis=(1, 2))


def boxes_of(heatmaps: Heatmaps, threshold: float) -> Boxes:
    """Box (left, top, right, bottom) around the largest connected region at or above `threshold` of the maximum.

    All images are labelled in one call; of two regions alike in size the first in reading order counts; an empty
    heatmap gives the whole map.
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
    """Connectivity inside an image (four neighbours), never between images."""
    structure = np.zeros((3, 3, 3), dtype=bool)
    structure[1] = ndimage.generate_binary_structure(2, 1)
    return structure


def _largest(labels: np.ndarray, regions: list, count: int) -> Int[np.ndarray, " crops"]:
    """Label of each image's largest region; 0 where there is none."""
    size = np.bincount(labels.reshape(-1), minlength=count + 1)[1:]
    image = np.array([region[0].start for region in regions])
    order = np.lexsort((np.arange(count), -size, image))
    first = order[np.unique(image[order], return_index=True)[1]]
    largest = np.zeros(len(labels), dtype=int)
    largest[image[first]] = first + 1
    return largest


def squares(boxes: Boxes, shape: tuple[int, int], margin: float, min_size: float) -> Boxes:
    """Grow boxes to squares with a margin and a minimum size, moved (then cut) to lie inside the image.

    Parameters
    ----------
    boxes : in pixels of an image.
    shape : height and width of that image.
    margin : added on each side, as a share of the longer side.
    min_size : least side, as a share of the image's shorter side.
    """
    height, width = shape
    longer = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    side = np.ceil(np.maximum(longer * (1 + 2 * margin), min_size * min(height, width))).astype(int)
    left, right = _placed((boxes[:, 0] + boxes[:, 2]) / 2, np.minimum(side, width), width)
    top, bottom = _placed((boxes[:, 1] + boxes[:, 3]) / 2, np.minimum(side, height), height)
    return np.column_stack([left, top, right, bottom])


def _placed(centre: np.ndarray, side: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Interval of length `side` around `centre`, moved inside [0, limit]."""
    start = np.clip(np.floor(centre - side / 2).astype(int), 0, limit - side)
    return start, start + side
