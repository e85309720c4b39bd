"""Measure what groups add to single features: concepts that no member has, and a gain over the best member (claim C2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table, write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.concepts.words.listing import in_words, listed_words
from falcon_dvc.evaluation.ground_truth import Attribute, heldout_attributes, names_of_attributes
from falcon_dvc.evaluation.group_selectivity import HeldOut, with_selectivity
from falcon_dvc.evaluation.new_concepts import new_concepts
from falcon_dvc.evaluation.statistics import bootstrap_weights, mean_with_interval
from falcon_dvc.groups.image_sets import often_firing

if TYPE_CHECKING:
    from falcon_dvc.params.schema import AnalyseGroups, Params


def run(params: Params, name: str) -> StageSummary:
    """Write the table of groups of two or more features of the encoder `name`, and their metrics.

    Held-out selectivity needs images with known attributes. It is left out without a synthetic data set.
    """
    groups = read_table(paths.groups(name) / "groups.parquet")
    concepts = read_table(paths.concepts(name) / "concepts.parquet")
    larger, words = groups[groups["size"] > 1].reset_index(drop=True), listed_words(concepts)
    table = larger.assign(words=larger["group"].map(in_words(concepts)).fillna(""), **new_concepts(larger, words))
    if params.worlds:
        known = _attributes_of_words(params)
        table = with_selectivity(table, words, _heldout(params, name, groups), known, params.analyse_groups)
    summary = _summary(name, table)
    write_json(paths.metrics(f"groups_{name}"), {**_metrics(groups, table, params.analyse_groups), **summary.metrics})
    new_words = table["new_words"].map("; ".join)
    write_table(paths.table(f"{name}_groups"), table.assign(new_words=new_words))
    return summary


def _summary(name: str, table: pd.DataFrame) -> StageSummary:
    """Summarise the stage; a group without a gain could not be compared with its members."""
    unmeasured = int(table["gain"].isna().sum()) if "gain" in table else 0
    reason = "with words that name no attribute of a held-out image"
    return StageSummary(
        read={"groups": len(table)},
        dropped={"groups": {reason: unmeasured}},
        wrote={f"rows to {paths.table(f'{name}_groups')}": len(table)},
    )


def _heldout(params: Params, name: str, groups: pd.DataFrame) -> HeldOut:
    """Read attributes and features of the images of split `test`, joined by image."""
    rows, attributes = heldout_attributes(params.data.images)
    activations = read_array(paths.groups(name) / "activations.npy")
    thresholds = read_array(paths.groups(name) / "thresholds.npy")
    partners = _partners(groups, activations, thresholds, chosen=params.encoders[name].features is not None)
    settings = params.analyse_groups
    weights = bootstrap_weights(len(rows), settings.bootstrap, np.random.default_rng(settings.seed))
    return HeldOut(attributes, activations[rows].astype(np.float64), thresholds, partners, weights)


def _partners(groups: pd.DataFrame, activations: np.ndarray, thresholds: np.ndarray, chosen: bool) -> np.ndarray:
    """Find the features that random groups may contain: bool, (features,).

    They are the features that are explained. If features were chosen, the others that fire as often are among them too.
    """
    single = groups[groups["size"] == 1]
    partners = np.zeros(activations.shape[1], dtype=bool)
    partners[single["members"].astype(int)] = True
    if chosen and len(single):
        probe = np.flatnonzero(read_table(paths.IMAGES)["split"] == "probe")
        partners |= often_firing(activations, probe, thresholds, single["support"].min())
    return partners


def _attributes_of_words(params: Params) -> dict[str, Attribute]:
    """Read the attribute that each word names; of several, the first in the lexicon."""
    names = names_of_attributes(read_table(f"{params.data.images}/lexicon.parquet"))
    return {word: attribute for attribute, words in reversed(names.items()) for word in words}


# ---- Metrics


def _metrics(groups: pd.DataFrame, table: pd.DataFrame, settings: AnalyseGroups) -> dict:
    """Compute metrics by size: number of groups, lift, and what groups add to their members."""
    sizes = {f"of_{size}": int(count) for size, count in groups["size"].value_counts().sort_index().items()}
    if table.empty:
        return {"groups": sizes}
    return {
        "groups": sizes,
        "median_support": float(table["support"].median()),
        "median_lift": float(table["lift"].median()),
        "median_lift_beyond_parts": float(table["lift_beyond"].median()),
        **{f"of_{size}": _added(groups_of_size, settings) for size, groups_of_size in table.groupby("size")},
        "of_all_sizes": _added(table, settings),
    }


def _added(groups: pd.DataFrame, settings: AnalyseGroups) -> dict:
    """Compute the shares of groups with a new concept and of groups that beat their best member, with controls."""
    added = _beside_control("new_concept", "share", "has_new", groups, settings)
    added |= _beside_control("new_first_concept", "share", "first_is_new", groups, settings)
    if "gain" not in groups:
        return added
    measured = int(groups["gain"].notna().sum())
    added |= {"measured": measured, "not_measured": len(groups) - measured}
    added |= _beside_control("beats_best_member", "share", "beats_best_member", groups, settings)
    return added | _beside_control("gain", "mean", "gain", groups, settings)


def _beside_control(name: str, kind: str, column: str, groups: pd.DataFrame, settings: AnalyseGroups) -> dict:
    """Compute the mean of a column and of its control, where they were measured."""
    measured = {name: groups[column], f"{name}_control": groups.get(f"control_{column}", groups[column][:0])}
    means = {key: mean_with_interval(values.dropna(), settings, kind) for key, values in measured.items()}
    return {key: mean for key, mean in means.items() if mean}
