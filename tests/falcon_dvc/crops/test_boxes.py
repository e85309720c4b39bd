"""Random images are cut like the group's own crops, joined by group and rank; low images stay whole where that is asked for."""

import numpy as np
import pandas as pd

from falcon_dvc.crops.boxes import boxes_by_role, random_like_high, whole_images

SETS = pd.DataFrame(
    [
        ("f1", "high", 0), ("f1", "high", 1), ("f2", "high", 0), ("f1", "low", 0),
        ("f2", "random", 0), ("f1", "random", 0), ("f1", "random", 1), ("f1", "random", 2),
    ],
    columns=["group", "role", "rank"],
)  # fmt: skip
BOXES = np.array([[0, 0, 20, 20], [30, 30, 64, 64], [10, 20, 40, 50], [1, 1, 9, 9]] + [[0, 0, 64, 64]] * 4)
SHAPE = np.full(8, 64), np.full(8, 64)


def test_a_random_image_has_the_box_of_its_groups_crop_of_the_same_rank_and_so_on_in_turn():
    found = random_like_high(SETS, BOXES, SHAPE)
    assert found[:4].tolist() == BOXES[:4].tolist()
    assert found[4:].tolist() == BOXES[[2, 0, 1, 0]].tolist()


def test_random_images_stay_whole_if_the_groups_crops_are_whole_images():
    shape = np.array([64, 40, 30, 64, 30, 64, 50, 40]), np.array([40, 64, 64, 64, 64, 30, 70, 40])
    whole = whole_images(BOXES, np.ones(8, dtype=bool), shape)
    assert random_like_high(SETS, whole, shape).tolist() == whole.tolist()


def test_the_order_of_rows_does_not_matter():
    order = np.random.default_rng(0).permutation(8)
    shuffled = SETS.iloc[order].reset_index(drop=True)
    assert np.array_equal(random_like_high(shuffled, BOXES[order], SHAPE), random_like_high(SETS, BOXES, SHAPE)[order])


def test_only_the_chosen_crops_become_whole_images():
    found = whole_images(BOXES, (SETS["role"] == "low").to_numpy(), (np.full(8, 50), np.full(8, 70)))
    assert found[3].tolist() == [0, 0, 70, 50]
    assert np.array_equal(np.delete(found, 3, axis=0), np.delete(BOXES, 3, axis=0))


def test_lowly_activating_images_are_cropped_if_asked():
    cropped, uncropped = (boxes_by_role(SETS, BOXES, SHAPE, low_crops) for low_crops in (True, False))
    assert np.flatnonzero((cropped != uncropped).any(axis=1)).tolist() == [3]
    assert uncropped[3].tolist() == [0, 0, 64, 64]
