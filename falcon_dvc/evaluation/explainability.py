"""Test the coherence of each group's crops against random crops of the same sizes (step 6, claims C1 and C2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc.evaluation.coherence import (
    against_null,
    coherence,
    coherence_of_random_sets,
    size_strata,
    with_diagonal,
)
from falcon_dvc.groups.groups import discoveries
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.params.schema import MeasureExplainability


def measure_coherence(
    groups: pd.DataFrame,
    crops: pd.DataFrame,
    embeddings: np.ndarray,
    images: pd.DataFrame,
    settings: MeasureExplainability,
) -> pd.DataFrame:
    """Compute the coherence of the highly activating crops of each group, and test it.

    The null distribution comes from random sets of as many crops of the same sizes.
    """
    high, pool = (np.flatnonzero(crops["role"] == role) for role in ("high", "random"))
    group = pd.Index(groups["group"]).get_indexer(crops["group"].iloc[high])
    count = np.bincount(group, minlength=len(groups))
    own = coherence(embeddings[high], group, len(groups))
    sides = _sides(crops, images)
    stratum, own_stratum = size_strata(sides[pool], sides[high], settings.size_strata, int(count.max()))
    composition = np.zeros((len(groups), int(stratum.max()) + 1), dtype=int)
    np.add.at(composition, (group, own_stratum), 1)
    null = _against_nulls(own, composition, embeddings[pool], stratum, settings)
    released = with_diagonal(own, count)
    table = groups[["group", "size"]].assign(
        crops=count,
        coherence=own,
        released_coherence=released,
        released_interpretable=released > settings.released_cut,
        **null,
    )
    return table.assign(interpretable=discoveries(table["p_value"].to_numpy(), settings.fdr))


def _sides(crops: pd.DataFrame, images: pd.DataFrame) -> np.ndarray:
    """Compute the side of each crop as a share of its image's shorter side."""
    shorter = images.set_index("image")[["height", "width"]].min(axis=1)
    side = np.maximum(crops["right"] - crops["left"], crops["bottom"] - crops["top"])
    return (side / crops["image"].map(shorter)).to_numpy()


def _against_nulls(
    own: np.ndarray, composition: np.ndarray, pool: np.ndarray, stratum: np.ndarray, settings: MeasureExplainability
) -> dict[str, np.ndarray]:
    """Compare each group with a null distribution for the sizes of its crops.

    The result for a group does not depend on the other groups.
    """
    columns = {key: np.full(len(own), np.nan) for key in ("z", "p_value", "null_mean", "null_high")}
    several = np.flatnonzero(composition.sum(axis=1) > 1)
    if len(several):
        null = _null(composition[several], pool, stratum, settings)
        columns["z"][several], columns["p_value"][several] = against_null(own[several], null)
        columns["null_mean"][several], columns["null_high"][several] = (
            null.mean(1),
            np.quantile(null, 1 - settings.fdr, 1),
        )
    columns["p_value"] = np.nan_to_num(columns["p_value"], nan=1.0)
    return columns


def _null(
    composition: np.ndarray, pool: np.ndarray, stratum: np.ndarray, settings: MeasureExplainability
) -> np.ndarray:
    """Compute the coherence of the random sets of each group: (groups, sets)."""
    generator = np.random.default_rng(settings.seed)
    drawn = coherence_of_random_sets(pool, stratum, composition, settings.null_sets, generator)
    null = np.empty((len(composition), settings.null_sets))
    for number, values in enumerate(track(drawn, "sets of random crops", total=settings.null_sets)):
        null[:, number] = values
    return null
