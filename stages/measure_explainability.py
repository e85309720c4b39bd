"""Measure which features and groups have crops that look alike, by the released rule and against chance (claims C1, C2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.activations.stored import open_rows
from falcon_dvc.artifacts.formats import read_array, read_table, write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.evaluation.explainability import measure_coherence
from falcon_dvc.evaluation.statistics import mean_with_interval
from falcon_dvc.groups.choice import number_chosen

if TYPE_CHECKING:
    from falcon_dvc.params.schema import MeasureExplainability, Params


def run(params: Params, name: str) -> StageSummary:
    """Write the coherence of every group of the encoder `name`, the interpretable shares, and plot data."""
    settings = params.measure_explainability
    groups = read_table(paths.groups(name) / "groups.parquet")
    crops = read_table(paths.crops(name) / "crops.parquet")
    embeddings = read_array(paths.crops(name) / "embeddings.npy")
    images = read_table(paths.IMAGES)
    measured = measure_coherence(groups, crops, embeddings, images, settings)
    features = open_rows(paths.groups(name) / "activations").shape[1]
    chosen = number_chosen(params.encoders[name].features)
    write_table(paths.EXPLAINABILITY / f"{name}.parquet", measured)
    write_table(paths.plot(f"{name}_coherence"), measured[["group", "size", "coherence", "null_mean", "null_high"]])
    by_size = {_label(size): _shares(groups_of_size, settings) for size, groups_of_size in measured.groupby("size")}
    write_table(paths.plot(f"{name}_interpretable"), _by_size(by_size))
    summary = StageSummary(
        read={"groups": len(groups), "crops": len(crops)},
        dropped={"groups": {"with fewer than two crops": int((measured["crops"] < 2).sum())}},
        wrote={f"rows to {paths.EXPLAINABILITY / f'{name}.parquet'}": len(measured)},
    )
    write_json(
        paths.metrics(f"explainability_{name}"),
        {
            "features": features,
            **_of_all_features(measured, features, chosen, settings),
            **by_size,
            "shuffled_activations": _shuffled(groups, crops, embeddings, images, settings),
            **summary.metrics,
        },
    )
    return summary


def _shuffled(
    groups: pd.DataFrame,
    crops: pd.DataFrame,
    embeddings: np.ndarray,
    images: pd.DataFrame,
    settings: MeasureExplainability,
) -> dict:
    """Apply the rule to each single feature's random images (null control).

    Shuffled activations would select such images.
    """
    single = groups[groups["size"] == 1].reset_index(drop=True)
    random = crops["role"] == "random"
    relabelled = pd.concat([crops[random].assign(role="high"), crops[random]], ignore_index=True)
    measured = measure_coherence(single, relabelled, np.concatenate([embeddings[random]] * 2), images, settings)
    return {
        "features": len(measured),
        "interpretable": int(measured["interpretable"].sum()),
        **_shares(measured, settings)["interpretable"],
        "median_z": float(measured["z"].median()),
    }


def _label(size: int) -> str:
    return "single" if size == 1 else f"groups_of_{size}"


def _shares(groups: pd.DataFrame, settings: MeasureExplainability) -> dict:
    """Compute the interpretable shares of one group size, with bootstrap intervals over the groups."""
    shares: dict = {"explained": len(groups)}
    for rule, column in (("interpretable", "interpretable"), ("released_rule", "released_interpretable")):
        shares[rule] = mean_with_interval(groups[column], settings)
    return shares | {"median_z": float(groups["z"].median()), "median_coherence": float(groups["coherence"].median())}


def _of_all_features(
    measured: pd.DataFrame, features: int, chosen: int | None, settings: MeasureExplainability
) -> dict[str, Any]:
    """Compute interpretable single features as a share of the *whole* space (claim C1), or of the chosen features.

    Features without enough images count as not interpretable. Of features that are not chosen, nothing is known.
    """
    single = measured[measured["size"] == 1]
    missing = np.zeros((features if chosen is None else chosen) - len(single))
    rules = {"interpretable": "interpretable", "released_rule": "released_interpretable"}
    shares = {
        rule: mean_with_interval(np.concatenate([single[column], missing]), settings) for rule, column in rules.items()
    }
    return {"of_the_space": shares} if chosen is None else {"chosen": chosen, "of_the_chosen": shares}


def _by_size(by_size: dict[str, dict]) -> pd.DataFrame:
    """Compute plot data: one row for each group size and rule."""
    rules = {"interpretable": "against random crops", "released_rule": "released rule"}
    return pd.DataFrame(
        [
            {"groups": f"{size.replace('_', ' ')}, {text}", **shares[rule]}
            for size, shares in by_size.items()
            for rule, text in rules.items()
        ]
    )
