"""Choose the crops of highly activating, lowly activating and random images, and list them (step 5)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from falcon_dvc.crops.heatmaps import Boxes, moved_to_image

Shape = tuple[np.ndarray, np.ndarray]


def boxes_by_role(sets: pd.DataFrame, boxes: Boxes, shape: Shape, low_crops: bool) -> Boxes:
    """Choose the box of each image by its role.

    Parameters
    ----------
    sets : one row for each image: ``group``, ``role``, ``rank``.
    boxes : box of each row around the peak of its heatmap.
    shape : heights and widths of the images, in pixels.
    low_crops : whether lowly activating images are cropped too.
    """
    boxes = random_like_high(sets, boxes, shape)
    return boxes if low_crops else whole_images(boxes, (sets["role"] == "low").to_numpy(), shape)


def random_like_high(sets: pd.DataFrame, boxes: Boxes, shape: Shape) -> Boxes:
    """Give each random image the box of one of its group's own crops.

    So random crops differ from them in content, not in size. Where that crop is a whole image, the random image stays whole.
    """
    random = np.flatnonzero(sets["role"] == "random")
    high = sets[sets["role"] == "high"]
    count = sets["group"].iloc[random].map(high.groupby("group").size()).to_numpy()
    keys = pd.MultiIndex.from_arrays([sets["group"].iloc[random], sets["rank"].iloc[random] % count])
    model = high.index[pd.MultiIndex.from_frame(high[["group", "rank"]]).get_indexer(keys)]
    height, width = shape
    own, new = (height[model], width[model]), (height[random], width[random])
    whole = (boxes[model] == _of_images(own)).all(axis=1)
    boxes = boxes.copy()
    boxes[random] = np.where(whole[:, None], _of_images(new), moved_to_image(boxes[model], own, new))
    return boxes


def whole_images(boxes: Boxes, which: np.ndarray, shape: Shape) -> Boxes:
    """Replace the boxes of `which` by the whole image."""
    return np.where(which[:, None], _of_images(shape), boxes)


def _of_images(shape: Shape) -> Boxes:
    """Return the boxes that hold images of these heights and widths."""
    height, width = shape
    return np.column_stack([np.zeros_like(width), np.zeros_like(height), width, height])


def crop_table(sets: pd.DataFrame, boxes: Boxes, empty: np.ndarray) -> pd.DataFrame:
    """List the crops with their boxes.

    Parameters
    ----------
    sets : one row for each crop: ``group``, ``role``, ``rank``, ``image``.
    empty : whether the heatmap of each crop was zero.
    """
    left, top, right, bottom = boxes.T
    return sets[["group", "role", "rank", "image"]].assign(left=left, top=top, right=right, bottom=bottom, empty=empty)
