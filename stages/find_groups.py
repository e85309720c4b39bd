"""Which images activate each feature and each group of features highly, lowly, or are drawn at random (steps 2, 3, 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stages.common import files
from stages.common.artifacts import read_array, read_table, write_table
from stages.common.errors import UserError
from stages.method import groups as grouping
from stages.method.activations import highly_activating, lowly_activating, picked, row_normalised
from stages.method.groups import Groups

if TYPE_CHECKING:
    from stages.common.params import FindGroups, Params


def run(params: Params, name: str) -> None:
    """Write ``groups.parquet`` and ``sets.parquet`` of the encoder `name`; only probe images take part."""
    settings = params.find_groups
    table = read_table(files.IMAGES)
    probe = np.flatnonzero(table["split"] == "probe")
    normalised = row_normalised(read_array(files.activations(name) / "features.npy")[probe])
    fires = highly_activating(
        normalised, settings.rule, top_k=settings.top_k, quantile=settings.quantile, sigma=settings.sigma
    )
    groups, statistics = _explained(fires, settings)
    if not len(groups):
        raise UserError(
            f"encoders.{name}: no feature has {settings.min_images} highly activating images; "
            "lower find_groups.min_images or sigma, or use rule: top_k"
        )
    sets = _sets(normalised, groups, statistics["group"].to_numpy(), settings)
    sets["image"] = table["image"].to_numpy()[probe[sets.pop("row")]]
    write_table(files.groups(name) / "groups.parquet", statistics)
    write_table(files.groups(name) / "sets.parquet", sets)


def _explained(fires: np.ndarray, settings: FindGroups) -> tuple[Groups, pd.DataFrame]:
    """Single features, and the most significant groups of each larger size."""
    if settings.grouping == "exact":
        groups = grouping.exact_groups(fires, settings.min_images)
    else:
        larger = grouping.cofiring_groups(fires, settings.min_images, settings.max_size)
        groups = grouping.together(grouping.single_features(fires, settings.min_images), larger)
    statistics = _statistics(groups, fires, settings.fdr)
    kept = _selected(statistics, settings.max_groups)
    groups, statistics = groups.take(kept), statistics.iloc[kept].reset_index(drop=True)
    members = [np.flatnonzero(row).tolist() for row in groups.members]
    statistics.insert(0, "group", [grouping.group_name(some) for some in members])
    statistics.insert(1, "members", [" ".join(map(str, some)) for some in members])
    return groups, statistics


def _statistics(groups: Groups, fires: np.ndarray, fdr: float) -> pd.DataFrame:
    """Support of each group and whether it is more than independent features would have."""
    lift, p_value = grouping.cofiring_significance(groups, fires)
    size = groups.members.sum(axis=1)
    significant = np.zeros(len(groups), dtype=bool)
    significant[size > 1] = grouping.discoveries(p_value[size > 1], fdr)
    return pd.DataFrame(
        {
            "size": size,
            "support": groups.images.sum(axis=1),
            "lift": lift,
            "p_value": p_value,
            "significant": significant,
        }
    )


def _selected(statistics: pd.DataFrame, max_groups: int) -> np.ndarray:
    """All single features and, of each larger size in turn, the significant groups of the highest support."""
    larger = statistics[(statistics["size"] > 1) & statistics["significant"]].sort_values(
        ["support", "lift"], ascending=False, kind="stable"
    )
    turn = larger.groupby("size").cumcount()
    chosen = larger.assign(turn=turn).sort_values(["turn", "size"], kind="stable").index[:max_groups]
    return np.sort(np.concatenate([np.flatnonzero(statistics["size"] == 1), chosen.to_numpy(dtype=int)]))


def _sets(normalised: np.ndarray, groups: Groups, names: np.ndarray, settings: FindGroups) -> pd.DataFrame:
    """One row for each image of each group and role, ranked."""
    members = groups.members / groups.members.sum(axis=1, keepdims=True)
    activation = members @ normalised.T
    high = picked(activation, groups.images, settings.max_images, settings.pick)
    low, cosine = lowly_activating(
        normalised, groups.members, groups.images, settings.low_images, settings.low_similarity
    )
    random = _random_images(groups.members.sum(axis=1) == 1, len(normalised), settings)
    parts = [
        _rows("high", high, names, activation, np.full(high.shape, np.nan)),
        _rows("low", low, names, activation, cosine),
        _rows("random", random, names, activation, np.full(random.shape, np.nan)),
    ]
    return pd.concat(parts, ignore_index=True)


def _random_images(single: np.ndarray, images: int, settings: FindGroups) -> np.ndarray:
    """Random images of every single feature (what shuffled activations would select); none for larger groups."""
    generator = np.random.default_rng(settings.seed)
    count = min(settings.random_images, images)
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
