"""Measure what groups add to single features: concepts that no member has, and a gain over the best member (claim C2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.activations.stored import Rows, open_rows
from falcon_dvc.artifacts.formats import read_array, read_table, write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.concepts.scoring.corpus import read_corpus
from falcon_dvc.concepts.words.listing import first_concepts, in_words, listed_words
from falcon_dvc.evaluation.ground_truth import (
    Attribute,
    attributes_of_words,
    attributes_together,
    heldout_attributes,
    names_of_attributes,
    truth_of,
)
from falcon_dvc.evaluation.group_selectivity import HeldOut, group_metrics, with_selectivity
from falcon_dvc.evaluation.new_concepts import new_concepts
from falcon_dvc.evaluation.pairs import MOST_FEATURES, MOST_IMAGES, Explained, Truth, measured_pairs, pair_metrics
from falcon_dvc.evaluation.statistics import bootstrap_weights
from falcon_dvc.evaluation.whole_images import image_scores
from falcon_dvc.groups.image_sets import often_firing
from falcon_dvc.members import member_lists

if TYPE_CHECKING:
    from falcon_dvc.params.schema import AnalyseGroups, Params


def run(params: Params, name: str) -> StageSummary:
    """Write the table of groups of two or more features of the encoder `name`, that of pairs, and their metrics.

    Held-out selectivity needs images with known attributes. It is left out without a synthetic data set.
    """
    groups = read_table(paths.groups(name) / "groups.parquet")
    concepts = read_table(paths.concepts(name) / "concepts.parquet")
    larger, words = groups[groups["size"] > 1].reset_index(drop=True), listed_words(concepts)
    table = larger.assign(words=larger["group"].map(in_words(concepts)).fillna(""), **new_concepts(larger, words))
    if params.worlds:
        known = _attributes_of_words(params)
        table = with_selectivity(table, words, _heldout(params, name, groups), known, params.analyse_groups)
    pairs = _pairs(params, name, groups, concepts)
    summary = _summary(name, table, pairs, params.analyse_groups)
    metrics = {
        **group_metrics(groups, table, params.analyse_groups),
        "pairs": pair_metrics(pairs, params.analyse_groups),
    }
    write_json(paths.metrics(f"groups_{name}"), {**metrics, **summary.metrics})
    write_table(paths.table(f"{name}_pairs"), pairs)
    new_words = table["new_words"].map("; ".join)
    write_table(paths.table(f"{name}_groups"), table.assign(new_words=new_words))
    return summary


def _summary(name: str, table: pd.DataFrame, pairs: pd.DataFrame, settings: AnalyseGroups) -> StageSummary:
    """Summarise the stage; a group without a gain could not be compared with its members."""
    missing = "different_words" in settings.choice and "different_words" not in set(pairs["choice"])
    few = f"fire together on {settings.least_common} images of half of the probe images (analyse_groups.least_common)"
    unmeasured = int(table["gain"].isna().sum()) if "gain" in table else 0
    reason = "with words that name no attribute of a held-out image"
    return StageSummary(
        read={"groups": len(table)},
        dropped={"groups": {reason: unmeasured}},
        lacking=[f"no two features with different first words {few}"] if missing else [],
        wrote={
            f"rows to {paths.table(f'{name}_groups')}": len(table),
            f"rows to {paths.table(f'{name}_pairs')}": len(pairs),
        },
    )


def _heldout(params: Params, name: str, groups: pd.DataFrame) -> HeldOut:
    """Read attributes and features of the images of split `test`, joined by image."""
    rows, attributes = heldout_attributes(params.data.images)
    activations = open_rows(paths.groups(name) / "activations")
    thresholds = read_array(paths.groups(name) / "thresholds.npy")
    partners = _partners(groups, activations, thresholds, chosen=params.encoders[name].features is not None)
    settings = params.analyse_groups
    weights = bootstrap_weights(len(rows), settings.bootstrap, np.random.default_rng(settings.seed))
    return HeldOut(attributes, activations.rows(rows).astype(np.float64), thresholds, partners, weights)


def _partners(groups: pd.DataFrame, activations: Rows, thresholds: np.ndarray, chosen: bool) -> np.ndarray:
    """Find the features that random groups may contain: bool, (features,).

    They are the features that are explained. If features were chosen, the others that fire as often are among them too.
    """
    single = groups[groups["size"] == 1]
    partners = np.zeros(activations.shape[1], dtype=bool)
    partners[single["members"].astype(int)] = True
    if chosen and len(single):
        probe = np.flatnonzero(read_table(paths.IMAGES)["split"] == "probe")
        partners |= often_firing(activations.rows, probe, thresholds, single["support"].min())
    return partners


def _attributes_of_words(params: Params) -> dict[str, Attribute]:
    """Read the attribute that each word names; of several, the first in the lexicon."""
    return attributes_of_words(names_of_attributes(read_table(f"{params.data.images}/lexicon.parquet")))


# ---- Pairs


def _pairs(params: Params, name: str, groups: pd.DataFrame, concepts: pd.DataFrame) -> pd.DataFrame:
    """Measure pairs of features on the probe images; an empty table if `analyse_groups.choice` names no way to choose them."""
    settings = params.analyse_groups
    if not settings.choice:
        return pd.DataFrame({"choice": []})
    explained = _explained(name, groups, concepts, settings.seed)
    truth = _truth(params, name, explained.features) if params.worlds else None
    return measured_pairs(explained, member_lists(groups.loc[groups["size"] == 2, "members"]), truth, settings)


def _explained(name: str, groups: pd.DataFrame, concepts: pd.DataFrame, seed: int) -> Explained:
    """Read the single features that are explained, on the probe images, and the scores of the corpus's words there."""
    images, corpus = read_table(paths.IMAGES), read_corpus()
    features = _at_most(MOST_FEATURES, groups.loc[groups["size"] == 1, "members"].astype(int).to_numpy(), seed)
    probe = _at_most(MOST_IMAGES, np.flatnonzero(images["split"] == "probe"), seed)
    words = read_table(paths.IMAGE_CAPTIONS / "words.parquet")["concept"].to_numpy()
    activations = open_rows(paths.groups(name) / "activations", len(images), paths.IMAGES).columns(features, probe)
    fires = activations >= read_array(paths.groups(name) / "thresholds.npy")[features]
    first = pd.Series([f"f{feature}" for feature in features], dtype=object).map(first_concepts(concepts))
    scores = image_scores(corpus)[probe][:, words]
    return Explained(features, first.fillna("").to_numpy(), activations, fires, scores, corpus.vocabulary[words])


def _at_most(count: int, rows: np.ndarray, seed: int) -> np.ndarray:
    """Draw `count` of the rows at random, in their order, or return all if there are no more."""
    return rows if len(rows) <= count else np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))


def _truth(params: Params, name: str, features: np.ndarray) -> Truth:
    """Find the attribute that each feature follows most on the held-out images."""
    rows, attributes = heldout_attributes(params.data.images)
    activations = open_rows(paths.groups(name) / "activations").columns(features, rows)
    followed = truth_of(activations.astype(np.float64), attributes, least=-1)
    of_features = list(zip(followed["kind"], followed["value"], strict=True))
    return Truth(of_features, _attributes_of_words(params), attributes_together(attributes))
