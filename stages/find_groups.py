"""Which images activate each feature and each group of features highly, lowly, or are drawn at random (steps 2, 3, 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_rows, read_table, write_array, write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.errors import UserError
from falcon_dvc.groups import groups as grouping
from falcon_dvc.groups.activations import (
    highly_activating,
    lowly_activating,
    lowly_activating_distinct,
    picked,
    row_normalised,
)
from falcon_dvc.groups.cofiring import CofiringSets, as_groups, cofiring_sets, diverse
from falcon_dvc.groups.groups import Groups
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.params.schema import FindGroups, Params

IMAGES_AT_ONCE = 4096  # whose features are normalised in double precision
POOL = 2  # random images in all, at least, as a multiple of the largest group's highly activating ones
GROUPS_AT_ONCE = 256  # whose activations on all images are in memory


class NothingFiresError(UserError):
    """No feature has enough highly activating images."""


def run(params: Params, name: str) -> StageSummary:
    """Write ``groups.parquet``, ``sets.parquet`` and ``thresholds.npy`` of the encoder `name`; only probe images take part."""
    settings = params.find_groups
    table = read_table(paths.IMAGES)
    probe = np.flatnonzero(table["split"] == "probe")
    normalised = _normalised(_features(name, len(table)), probe)
    if not normalised.size:
        raise NothingFiresError(f"encoders.{name}: no image is explained, all are held out; lower data.heldout")
    fires = highly_activating(
        normalised, settings.rule, top_k=settings.top_k, quantile=settings.quantile, sigma=settings.sigma
    )
    groups, statistics, search = _explained(fires, settings)
    if not len(groups):
        raise NothingFiresError(
            f"encoders.{name}: no feature has {settings.min_images} highly activating images; "
            "lower find_groups.min_images or sigma, or use rule: top_k"
        )
    sets = _sets(normalised, fires, groups, statistics["group"].to_numpy(), settings)
    sets["image"] = table["image"].to_numpy()[probe[sets.pop("row")]]
    write_table(paths.groups(name) / "groups.parquet", statistics)
    write_table(paths.groups(name) / "sets.parquet", sets)
    write_array(paths.groups(name) / "thresholds.npy", _thresholds(normalised, fires))
    summary = _summary(name, fires.shape, search, len(groups), len(sets), settings)
    write_json(paths.metrics(f"search_{name}"), {**search, **summary.metrics})
    return summary


def _summary(
    name: str, fires: tuple[int, int], search: dict, groups: int, rows: int, settings: FindGroups
) -> StageSummary:
    """Sets that are left out are no input: they are noted, and metrics say why."""
    images, features = fires
    sets = [some for size, some in search.items() if size.startswith("of_")]
    left = sum(some["significant"] - some["explained"] for some in sets)
    few = f"with fewer than {settings.min_images} highly activating images"
    return StageSummary(
        read={"probe images": images, "features": features},
        dropped={"features": {few: features - search["single"]}},
        noted={"sets of features that fire together beyond chance left out": left},
        wrote={f"groups to {paths.groups(name)}": groups, "rows of images to it": rows},
    )


def _features(name: str, images: int) -> np.ndarray:
    """The features of all images.

    Raises
    ------
    UserError
        If they are no features, or of other images.
    """
    path = paths.activations(name) / "features.npy"
    features = read_rows(path, images, paths.IMAGES)
    if not features.shape[1]:
        raise UserError(f"{path}: holds no feature; run `dvc repro` to make it again")
    return features


def _normalised(features: np.ndarray, probe: np.ndarray) -> np.ndarray:
    """Row-normalised features of the probe images, a block at a time: one matrix in double precision, not several."""
    normalised = np.empty((len(probe), features.shape[1]))
    for start in range(0, len(probe), IMAGES_AT_ONCE):
        rows = slice(start, start + IMAGES_AT_ONCE)
        normalised[rows] = row_normalised(features[probe[rows]])
    return normalised


def _thresholds(normalised: np.ndarray, fires: np.ndarray) -> np.ndarray:
    """Smallest row-normalised activation at which each feature fires; infinite if it never does."""
    thresholds = np.full(normalised.shape[1], np.inf)
    for start in range(0, len(normalised), IMAGES_AT_ONCE):
        rows = slice(start, start + IMAGES_AT_ONCE)
        lowest = np.where(fires[rows], normalised[rows], np.inf).min(axis=0, initial=np.inf)
        thresholds = np.minimum(thresholds, lowest)
    return thresholds


def _explained(fires: np.ndarray, settings: FindGroups) -> tuple[Groups, pd.DataFrame, dict]:
    """Single features and the larger groups that are explained, their statistics, and the search in numbers."""
    find = _exact if settings.grouping == "exact" else _cofiring
    groups, statistics, search = find(fires, settings)
    members = [np.flatnonzero(row).tolist() for row in groups.members]
    statistics.insert(0, "group", [grouping.group_name(some) for some in members])
    statistics.insert(1, "members", [" ".join(map(str, some)) for some in members])
    return groups, statistics, {"single": int((statistics["size"] == 1).sum()), **search}


def _exact(fires: np.ndarray, settings: FindGroups) -> tuple[Groups, pd.DataFrame, dict]:
    """Released: images with the identical set. Of the larger sets, those beyond independent firing, the strongest first."""
    groups = grouping.exact_groups(fires, settings.min_images)
    statistics = _independence(groups, fires)
    larger, size = (statistics["size"] > 1).to_numpy(), statistics["size"].to_numpy()
    significant = np.zeros(len(groups), dtype=bool)
    significant[larger] = grouping.discoveries(statistics["p_value"].to_numpy()[larger], settings.fdr)
    strength = statistics.pop("strength").to_numpy()
    # No two exact groups share an image, so none is a near-duplicate of another.
    chosen, left = grouping.strongest_in_turn(
        size, strength, significant, lambda row: np.arange(len(size)) == row, settings.max_groups
    )
    search = {
        f"of_{some}": {
            "tested": int((size == some).sum()),
            "significant": int(significant[size == some].sum()),
            "beyond_max_groups": int(left[size == some].sum()),
            "explained": int((size[chosen] == some).sum()),
        }
        for some in np.unique(size[larger])
    }
    kept = np.sort(np.concatenate([np.flatnonzero(~larger), chosen]))
    return groups.take(kept), statistics.assign(significant=significant).iloc[kept].reset_index(drop=True), search


def _cofiring(fires: np.ndarray, settings: FindGroups) -> tuple[Groups, pd.DataFrame, dict]:
    """Every feature with enough images and, of the closed sets that fire together beyond chance, diverse ones."""
    singles = grouping.single_features(fires, settings.min_images)
    found = cofiring_sets(
        fires, settings.min_images, settings.max_size, settings.fdr, settings.max_candidates, settings.max_jaccard
    )
    chosen, left = diverse(found, fires, settings.max_groups, settings.max_jaccard)
    larger = pd.DataFrame(
        {
            "size": found.size[chosen],
            "support": found.support[chosen],
            "lift": found.lift[chosen],
            "lift_beyond": found.lift_beyond[chosen],
            "p_value": found.p_value[chosen],
            "significant": True,
        }
    )
    single = _independence(singles, fires).drop(columns="strength").assign(significant=False)
    groups = grouping.together(singles, as_groups(found.sets[chosen], fires))
    return groups, pd.concat([single, larger], ignore_index=True), _search(found, chosen, left)


def _independence(groups: Groups, fires: np.ndarray) -> pd.DataFrame:
    """Support of each group and whether it is more than independent features would have."""
    lift, p_value, strength = grouping.against_independence(groups, fires)
    return pd.DataFrame(
        {
            "size": groups.members.sum(axis=1),
            "support": groups.images.sum(axis=1),
            "lift": lift,
            "lift_beyond": lift,
            "p_value": p_value,
            "strength": strength,
        }
    )


def _search(found: CofiringSets, chosen: np.ndarray, left: np.ndarray) -> dict:
    """What became of all sets of each size: every one that was significant is explained, or dropped for one of the reasons."""
    numbers = {}
    for size, search in found.search.items():
        listed, explained = found.size == size, int((found.size[chosen] == size).sum())
        beyond = int(left[listed].sum())
        numbers[f"of_{size}"] = {
            "tested": search.tested,
            "significant": search.significant,
            "beyond_max_candidates": search.cut_off,
            "not_closed": search.not_closed,
            "near_duplicates": int(listed.sum()) - explained - beyond,
            "beyond_max_groups": beyond,
            "explained": explained,
        }
    return numbers


def _sets(
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
