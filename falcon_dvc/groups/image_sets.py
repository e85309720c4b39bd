"""Select the highly activating, lowly activating and random images of each group (steps 2 and 7)."""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float32
from scipy import sparse

from falcon_dvc.groups.activations import (
    Features,
    dense,
    finite_features,
    lowly_activating,
    lowly_activating_distinct,
    picked,
    row_normalised,
)
from falcon_dvc.groups.groups import Groups
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.params.schema import FindGroups


IMAGES_AT_ONCE = 4096  # images whose features are normalised in double precision at once
VALUES_AT_ONCE = 2**24  # activations that are compared at once
POOL = 2  # smallest number of random images, as a multiple of the highly activating images of the largest group
GROUPS_AT_ONCE = 256  # groups whose activations on all images are in memory


def compared_activations(
    features: np.ndarray, normalise: Literal["row", "none"]
) -> Float32[np.ndarray, "images features"]:
    """Compute the activations by which images are ranked, on all images: the features, or the features scaled by row.

    Images are selected, judged and analysed by this one array. So all stages speak of the same activation.

    Parameters
    ----------
    features : (images, features).
    normalise : ``row`` scales the features of each image to unit length (released); ``none`` leaves them as they are.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    activations = np.empty(features.shape, dtype=np.float32)
    for start in range(0, len(features), IMAGES_AT_ONCE):
        rows = slice(start, start + IMAGES_AT_ONCE)
        activations[rows] = row_normalised(features[rows]) if normalise == "row" else finite_features(features[rows])
    return activations


def compared_sparse(
    rows_of: Callable[[slice], np.ndarray], shape: tuple[int, int], normalise: Literal["row", "none"]
) -> sparse.csr_array:
    """Compute the activations as `compared_activations`, as sparse rows; some images at a time are dense.

    Parameters
    ----------
    rows_of : from a slice of images to their features, (images, features).
    shape : of all features.
    """
    at_once = max(VALUES_AT_ONCE // shape[1], 1)
    blocks = (slice(start, start + at_once) for start in range(0, shape[0], at_once))
    rows = [sparse.csr_array(compared_activations(rows_of(block), normalise)) for block in blocks]
    return sparse.csr_array(sparse.vstack(rows, format="csr"))


def firing_thresholds(normalised: Features, fires: np.ndarray) -> np.ndarray:
    """Compute the smallest activation at which each feature fires.

    The threshold is infinite for a feature that never fires.
    """
    thresholds, at_once = np.full(normalised.shape[1], np.inf), max(VALUES_AT_ONCE // normalised.shape[1], 1)
    for start in range(0, normalised.shape[0], at_once):
        rows = slice(start, start + at_once)
        lowest = np.where(fires[rows], dense(normalised[rows]), np.inf).min(axis=0, initial=np.inf)
        thresholds = np.minimum(thresholds, lowest)
    return thresholds


def often_firing(
    rows_of: Callable[[np.ndarray], np.ndarray], probe: np.ndarray, thresholds: np.ndarray, least: float
) -> np.ndarray:
    """Find the features that fire on at least `least` of the probe images, whose activations `rows_of` reads: bool, (features,)."""
    support, at_once = np.zeros(len(thresholds), dtype=int), max(VALUES_AT_ONCE // len(thresholds), 1)
    for start in range(0, len(probe), at_once):
        support += (rows_of(probe[start : start + at_once]) >= thresholds).sum(axis=0)
    return support >= least


def image_sets(
    normalised: Features, fires: np.ndarray, groups: Groups, names: np.ndarray, settings: FindGroups
) -> pd.DataFrame:
    """List the images of each group and role by rank, one row for each image.

    A block of groups is computed at a time.
    """
    random = _random_images(groups, fires, settings)
    blocks = [slice(start, start + GROUPS_AT_ONCE) for start in range(0, len(groups), GROUPS_AT_ONCE)]
    tables_of_blocks = [
        _block(normalised, fires, groups.take(rows), names[rows], random[rows], settings)
        for rows in track(blocks, "images of groups")
    ]
    return pd.concat(
        [table for tables_of_role in zip(*tables_of_blocks, strict=True) for table in tables_of_role], ignore_index=True
    )


def _block(
    normalised: Features,
    fires: np.ndarray,
    groups: Groups,
    names: np.ndarray,
    random: np.ndarray,
    settings: FindGroups,
) -> tuple[pd.DataFrame, ...]:
    """List the images of a block of groups, one table for each role."""
    own = np.unique(groups.sets.indices)
    members = groups.members[:, own] / groups.size[:, None]
    activation = members @ dense(normalised[:, own]).T
    high = picked(activation, groups.images, settings.max_images, settings.pick)
    low, cosine = _lowly_activating(normalised, fires, groups, settings)
    return (
        _rows("high", high, names, activation, np.full(high.shape, np.nan)),
        _rows("low", low, names, activation, cosine),
        _rows("random", random, names, activation, np.full(random.shape, np.nan)),
    )


def _lowly_activating(
    normalised: Features, fires: np.ndarray, groups: Groups, settings: FindGroups
) -> tuple[np.ndarray, np.ndarray]:
    """Select lowly activating images by the rule of `find_groups.low_match`."""
    count, similarity = settings.low_images, settings.low_similarity
    if settings.low_match == "released":
        return lowly_activating(normalised, groups.members, groups.images, count, similarity)
    return lowly_activating_distinct(
        normalised, fires, groups.members, groups.images, count, similarity, settings.redundancy
    )


def _random_images(groups: Groups, fires: np.ndarray, settings: FindGroups) -> np.ndarray:
    """Draw random images for each single feature, and none for larger groups.

    Shuffled activations would select such images. All features draw in turn, also those that are not chosen: a feature
    begins with the same images, whatever is explained beside it. If few features give too few crops, more images than
    `find_groups.random_images` are drawn. Random sets of the largest group's size can then be drawn from them.
    """
    single = np.flatnonzero(groups.size == 1)
    row_of = dict(zip(groups.sets.indices[groups.sets.indptr[single]].tolist(), single.tolist(), strict=True))
    support = fires.sum(axis=0)
    cofiring = settings.grouping == "cofire"
    drawing = np.flatnonzero(support >= settings.min_images) if cofiring else np.array(sorted(row_of), dtype=int)
    largest = max(support[drawing].max(initial=0), groups.images.sum(axis=1).max(initial=0))
    first, all_in_all = (_number_of_random_images(int(largest), of, len(fires), settings) for of in (drawing, row_of))
    rows, generator = np.full((len(groups), all_in_all), -1), np.random.default_rng(settings.seed)
    for feature in drawing.tolist():
        drawn = generator.choice(len(fires), first, replace=False)
        if feature in row_of:
            others = _others(drawn, len(fires), all_in_all - first, [settings.seed, feature])
            rows[row_of[feature]] = np.concatenate([drawn, others])
    return rows


def _number_of_random_images(largest: int, features: Sized, images: int, settings: FindGroups) -> int:
    """Return how many random images each feature needs, so that all together give enough for the largest group."""
    enough = -(-POOL * min(largest, settings.max_images) // max(len(features), 1))
    return min(max(settings.random_images, enough), images)


def _others(drawn: np.ndarray, images: int, count: int, seed: list[int]) -> np.ndarray:
    """Draw further images, none of which was drawn before."""
    if not count:
        return drawn[:0]
    return np.random.default_rng(seed).choice(np.setdiff1d(np.arange(images), drawn), count, replace=False)


def _rows(
    role: str, rows: np.ndarray, names: np.ndarray, activation: np.ndarray, similarity: np.ndarray
) -> pd.DataFrame:
    """List the images of one role; rows below 0 are missing entries."""
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
