"""Are the explanations right? The first concept of each feature against the attribute that the feature sees (rendered world)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stages.common import files
from stages.common.artifacts import read_array, read_table, write_json, write_table
from stages.common.corpus import read_corpus, settings_of
from stages.common.tables import concept_table
from stages.method.explanation import Captioned, captioned, explain
from stages.method.truth import bootstrap_interval, clear_truth, correlations
from stages.method.words import concepts_of

if TYPE_CHECKING:
    from stages.common.params import EvaluateConcepts, Params

KINDS = ("object", "colour", "texture", "background", "position")


def run(params: Params, name: str) -> None:
    """Write each single feature's truth and whether its concepts name it, beside the null of shuffled activations."""
    settings = params.evaluate_concepts
    truth = _truth(params, name, settings.clear)
    names = _names_of_attributes(read_table(f"{params.data.images}/lexicon.parquet"))
    real = _judged(truth, read_table(files.concepts(name) / "concepts.parquet"), names)
    shuffled = _judged(truth, _explained_by_chance(params, name), names)
    write_table(files.table(f"{name}_truth"), real)
    metrics = _metrics(real, shuffled, settings)
    write_json(files.metrics(f"evaluation_{name}"), metrics)
    write_table(files.plot(f"{name}_evaluation"), _by_kind(metrics))


def _truth(params: Params, name: str, least: float) -> pd.DataFrame:
    """The attribute that each explained feature correlates with most, on held-out images."""
    images = read_table(files.IMAGES)
    heldout = np.flatnonzero(images["split"] == "test")
    attributes = images.iloc[heldout][["image"]].merge(
        read_table(f"{params.data.images}/attributes.parquet"), on="image", how="left", validate="one_to_one"
    )
    columns = pd.get_dummies(attributes[list(KINDS)], prefix_sep="=")
    correlation = correlations(
        read_array(files.activations(name) / "features.npy")[heldout], columns.to_numpy(dtype=bool)
    )
    best, clear = clear_truth(correlation, least)
    kind, value = zip(*(column.split("=", 1) for column in columns.columns[best]), strict=True)
    groups = [f"f{feature}" for feature in range(len(best))]
    table = pd.DataFrame(
        {"group": groups, "kind": kind, "value": value, "correlation": correlation.max(axis=1), "clear": clear}
    )
    explained = read_table(files.groups(name) / "groups.parquet")["group"]
    return table[table["group"].isin(explained)].reset_index(drop=True)


def _names_of_attributes(lexicon: pd.DataFrame) -> dict[tuple[str, str], set[str]]:
    """The words that name each attribute, in the form in which the captions are parsed."""
    names: dict[tuple[str, str], set[str]] = {}
    for kind, value, word in lexicon[["kind", "value", "word"]].itertuples(index=False):
        names.setdefault((kind, value), set()).update(concepts_of(word)[0] or [word])
    return names


def _explained_by_chance(params: Params, name: str) -> pd.DataFrame:
    """Concepts of the random images of each feature: what shuffled activations would be explained by."""
    corpus, crops = read_corpus(), read_table(files.crops(name) / "crops.parquet")
    rows = np.flatnonzero(crops["role"] == "random")
    groups = crops["group"].iloc[rows].drop_duplicates().to_numpy()
    captions = captioned(
        read_array(files.crops(name) / "embeddings.npy")[rows], corpus.shards, settings_of(params.concepts)
    )
    group = pd.Index(groups).get_indexer(crops["group"].iloc[rows])
    nothing = Captioned(captions.captions[:0], captions.weights[:0]), group[:0]
    return concept_table(
        explain((captions, group), nothing, captions, corpus.mentions, len(groups), settings_of(params.concepts)),
        corpus,
        groups,
        params.concepts,
    )


def _judged(truth: pd.DataFrame, concepts: pd.DataFrame, names: dict[tuple[str, str], set[str]]) -> pd.DataFrame:
    """Rank of the first word that names the truth; joined by group, never by row."""
    words = concepts[concepts["kept"] & (concepts["kind"] == "word")].sort_values(["group", "rank"], kind="stable")
    listed = {group: list(some) for group, some in words.groupby("group", sort=False)["concept"]}
    ranks = [_rank(listed.get(row.group, []), names[row.kind, row.value]) for row in truth.itertuples()]
    first = [next(iter(listed.get(group, [])), "") for group in truth["group"]]
    found = np.array(ranks, dtype=float)
    return truth.assign(first_concept=first, hit_first=found == 1, hit_five=found <= 5, rank_of_truth=found)


def _rank(words: list[str], names: set[str]) -> float:
    """Place of the first word that is one of `names`, from 1; infinite if none is."""
    return next((place for place, word in enumerate(words, start=1) if word in names), np.inf)


def _metrics(real: pd.DataFrame, shuffled: pd.DataFrame, settings: EvaluateConcepts) -> dict:
    """Share of the features with a clear truth that are named rightly, in all and by kind, and the same by chance."""
    clear, chance = real[real["clear"]], shuffled[shuffled["clear"]]
    if clear.empty:
        return {"features": len(real), "clear_truth": 0}
    kinds = {kind: _hits(part, settings) for kind, part in clear.groupby("kind")}
    return {
        "features": len(real),
        "clear_truth": len(clear),
        "all": _hits(clear, settings),
        **kinds,
        "shuffled_activations": _hits(chance, settings),
    }


def _by_kind(metrics: dict) -> pd.DataFrame:
    """Plot data: the share that is right, in all, by kind of truth, and by chance."""
    measured = {kind: value for kind, value in metrics.items() if isinstance(value, dict)}
    columns = ["truth", "top1", "interval_low", "interval_high"]
    return pd.DataFrame(
        [{"truth": kind.replace("_", " "), **value} for kind, value in measured.items()], columns=columns
    )


def _hits(part: pd.DataFrame, settings: EvaluateConcepts) -> dict:
    low, high = bootstrap_interval(
        part["hit_first"].to_numpy(dtype=float),
        settings.bootstrap,
        settings.confidence,
        np.random.default_rng(settings.seed),
    )
    return {
        "features": len(part),
        "top1": float(part["hit_first"].mean()),
        "interval_low": low,
        "interval_high": high,
        "top5": float(part["hit_five"].mean()),
    }
