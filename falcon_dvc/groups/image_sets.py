"""The highly activating, lowly activating and random images of each group (steps 2 and 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc.groups.activations import (
    lowly_activating,
    lowly_activating_distinct,
    picked,
    row_normalised,
)
from falcon_dvc.groups.groups import Groups
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.params.schema import FindGroups


IMAGES_AT_ONCE = 4096  # whose features are normalised in double precision
POOL = 2  # random images in all, at least, as a multiple of the largest group's highly activating ones
GROUPS_AT_ONCE = 256  # whose activations on all images are in memory


def normalised_features(features: np.ndarray, probe: np.ndarray) -> np.ndarray:
    """Row-normalised features of the probe images, a block at a time: one matrix in double precision, not several."""
    normalised = np.empty((len(probe), features.shape[1]))
    for start in range(0, len(probe), IMAGES_AT_ONCE):
        rows = slice(start, start + IMAGES_AT_ONCE)
        normalised[rows] = row_normalised(features[probe[rows]])
    return normalised


def firing_thresholds(normalised: np.ndarray, fires: np.ndarray) -> np.ndarray:
    """Smallest row-normalised activation at which each feature fires; infinite if it never does."""
    thresholds = np.full(normalised.shape[1], np.inf)
    for start in range(0, len(normalised), IMAGES_AT_ONCE):
        rows = slice(start, start + IMAGES_AT_ONCE)
        lowest = np.where(fires[rows], normalised[rows], np.inf).min(axis=0, initial=np.inf)
        thresholds = np.minimum(thresholds, lowest)
    return thresholds


def image_sets(
    normalised: np.ndarray, fires: np.ndarray, groups: Groups, names: np.ndarray, settings: FindGroups
) -> pd.DataFrame:
    """One row for each image of each group and role, ranked; a block of groups at a time."""
    largest = min(int(groups.images.sum(axis=1).max(initial=0)), settings.max_images)
    random = _random_images(groups.members.sum(axis=1) == 1, largest, len(normalised), settings)
    blocks = [slice(start, start + GROUPS_AT_ONCE) for start in range(0, len(groups), GROUPS_AT_ONCE)]
    parts = [
        _block(normalised, fires, groups.take(rows), names[rows], random[rows], settings)
        for rows in track(blocks, "images of groups")
    ]
    return pd.concat([table for role in zip(*parts, strict=True) for table in role], ignore_index=True)


def _block(
    normalised: np.ndarray,
    fires: np.ndarray,
    groups: Groups,
    names: np.ndarray,
    random: np.ndarray,
    settings: FindGroups,
) -> tuple[pd.DataFrame, ...]:
    """One table for each role."""
    members = groups.members / groups.members.sum(axis=1, keepdims=True)
    activation = members @ normalised.T
    high = picked(activation, groups.images, settings.max_images, settings.pick)
    low, cosine = _lowly_activating(normalised, fires, groups, settings)
    return (
        _rows("high", high, names, activation, np.full(high.shape, np.nan)),
        _rows("low", low, names, activation, cosine),
        _rows("random", random, names, activation, np.full(random.shape, np.nan)),
    )


def _lowly_activating(
    normalised: np.ndarray, fires: np.ndarray, groups: Groups, settings: FindGroups
) -> tuple[np.ndarray, np.ndarray]:
    """Lowly activating images, matched as params.yaml says."""
    count, similarity = settings.low_images, settings.low_similarity
    if settings.low_match == "released":
        return lowly_activating(normalised, groups.members, groups.images, count, similarity)
    return lowly_activating_distinct(
        normalised, fires, groups.members, groups.images, count, similarity, settings.redundancy
    )


def _random_images(single: np.ndarray, largest: int, images: int, settings: FindGroups) -> np.ndarray:
    """Random images of every single feature (what shuffled activations would select); none for larger groups.

    More than the params say where few features would leave too few crops to draw random sets of the `largest` group's size from.
    """
    generator = np.random.default_rng(settings.seed)
    enough = -(-POOL * largest // max(int(single.sum()), 1))
    count = min(max(settings.random_images, enough), images)
    rows = np.full((len(single), count), -1)
    for index in np.flatnonzero(single):
        rows[index] = generator.choice(images, count, replace=False)
    return rows


def _rows(
    role: str, rows: np.ndarray, names: np.ndarray, activation: np.ndarray, similarity: np.ndarray
) -> pd.DataFrame:
    """The table of one role; rows below 0 stand for nothing."""
    group, rank = np.nonzero(rows >= 0)
    row = rows[group, rank]
    return pd.DataFrame(
        {
            "group": names[group],
            "role": role,
            "rank": rank,
            "row": row,
            "activation": activation[group, row],
            "similarity": similarity[group, rank],
        }
    )
