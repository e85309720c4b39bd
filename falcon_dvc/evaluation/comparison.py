"""Compare the words of every method with the truth of each feature: the same features, crops, captions and vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.activations.stored import open_rows
from falcon_dvc.artifacts.formats import read_table
from falcon_dvc.concepts.scoring.corpus import Corpus, read_corpus
from falcon_dvc.concepts.words.listing import listed_words
from falcon_dvc.evaluation.ground_truth import Judge
from falcon_dvc.evaluation.methods import (
    CaptionedCrops,
    Words,
    all_methods,
    best_constant,
    best_words,
    constant,
    read_captioned_crops,
)
from falcon_dvc.evaluation.selectivity import right_or_tied
from falcon_dvc.evaluation.statistics import mean_with_interval, paired_difference
from falcon_dvc.evaluation.whole_images import projections, rankings, read_whole_images
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params, Resampled

MEASURES = ("pearson", "auprc", "auc", "mad")


def compared_methods(params: Params, name: str, judge: Judge) -> dict[str, pd.DataFrame]:
    """Judge the words of every method on the explained features of the encoder `name`: a table for each method."""
    methods = _all_words(params, name, judge)
    return {
        method: judge.judged(words) for method, words in track(methods.items(), "comparing methods", total=len(methods))
    }


def _all_words(params: Params, name: str, judge: Judge) -> dict[str, Words]:
    """Compute the words of every method, and those of the most frequent truths."""
    truth, clear = judge.truth, judge.truth[judge.truth["clear"]]
    label = best_constant(clear if len(clear) else truth, judge.names, params.concepts.top)
    return words_of_methods(params, name) | {"best_constant": constant(truth["group"], label)}


def words_of_methods(params: Params, name: str) -> dict[str, Words]:
    """Compute the words of every method that needs no truth; `falcon` is the explanation that the report shows."""
    corpus, settings = read_corpus(), params.concepts
    own = listed_words(read_table(paths.concepts(name) / "concepts.parquet"))
    crops = read_captioned_crops(name, corpus, settings)
    whole = _of_whole_images(name, crops, corpus, settings.top)
    return {"falcon": own, **all_methods(crops, corpus, settings), **whole}


def _of_whole_images(name: str, crops: CaptionedCrops, corpus: Corpus, top: int) -> dict[str, Words]:
    """Compute the words of the methods that read whole images, and of the contrast as a projection of embeddings."""
    whole, probe = read_whole_images(corpus), np.flatnonzero(read_table(paths.IMAGES)["split"] == "probe")
    raw, activations = (
        open_rows(path).rows(slice(None))
        for path in (paths.activations(name) / "features", paths.groups(name) / "activations")
    )
    feature = np.array([int(group[1:]) for group in crops.groups])
    values = {method: all_of[feature] for method, all_of in rankings(probe, whole, raw, activations).items()}
    values["contrastive_projection"] = projections(crops.groups, crops.crops, crops.embeddings, whole)
    return {method: best_words(crops.groups, value, whole.words, corpus, top) for method, value in values.items()}


def methods_table(compared: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """List each method and feature with a clear truth, one row for each pair."""
    columns = ["method", "group", "kind", "value", "first_concept", "rank_of_truth", *MEASURES]
    tables = [table[table["clear"]].assign(method=method) for method, table in compared.items()]
    return pd.concat(tables, ignore_index=True)[columns]


def shares_right(compared: dict[str, pd.DataFrame], settings: Resampled) -> dict:
    """Compute the share of features that are named rightly: those with a clear truth, in all and by kind, and all features."""
    own = compared["falcon"]
    clear = own[own["clear"]]
    if clear.empty:
        return {"features": len(own), "clear_truth": 0}
    kinds = {kind: _hits(table, settings) for kind, table in clear.groupby("kind")}
    return {
        "features": len(own),
        "clear_truth": len(clear),
        "all": _hits(clear, settings),
        **kinds,
        "methods": _by_methods({method: table[table["clear"]] for method, table in compared.items()}, settings),
        "every_feature": _by_methods(compared, settings),
    }


def _by_methods(compared: dict[str, pd.DataFrame], settings: Resampled) -> dict[str, dict]:
    """Compute the metrics of each method, and the difference of FALCON from each on the same features."""
    own = compared["falcon"]["hit_first"].to_numpy(dtype=float)
    return {
        method: _hits(table, settings)
        | _selectivity(table, settings)
        | ({} if method == "falcon" else {"falcon_less_this": paired_difference(own, table["hit_first"], settings)})
        for method, table in compared.items()
    }


def _hits(table: pd.DataFrame, settings: Resampled) -> dict:
    """Compute shares over features, with an interval for the first word.

    A truth that is not listed has a reciprocal rank of 0.
    """
    return {
        "features": len(table),
        **mean_with_interval(table["hit_first"], settings, "top1"),
        "top1_or_tie": float(first_or_tie(table).mean()),
        "top5": float(table["hit_five"].mean()),
        "mean_reciprocal_rank": float((1 / table["rank_of_truth"]).mean()),
    }


def first_or_tie(table: pd.DataFrame) -> np.ndarray:
    """Find the features whose first word is right or ties with the truth: bool, by row of `Judge.judged`."""
    right, *correlations = (table[column].to_numpy() for column in ("hit_first", "correlation", "pearson"))
    return right_or_tied(right.astype(bool), *correlations)


def _selectivity(table: pd.DataFrame, settings: Resampled) -> dict:
    """Compute the mean over features of the first word's held-out selectivity."""
    return {measure: mean_with_interval(table[measure], settings, "mean") for measure in MEASURES}


def bars_by_kind(metrics: dict) -> pd.DataFrame:
    """Compute plot data: the share of right words, in all and by kind of truth."""
    measured = {kind: value for kind, value in metrics.items() if isinstance(value, dict) and "top1" in value}
    return _bars("truth", measured)


def bars_by_method(metrics: dict) -> pd.DataFrame:
    """Compute plot data: the share of right words, by method."""
    return _bars("method", metrics.get("methods", {}))


def bars_by_contrast(metrics: dict) -> pd.DataFrame:
    """Compute plot data: the share of right words, by contrast, with all else equal."""
    prefix = "falcon_"
    methods = {
        key.removeprefix(prefix): value for key, value in metrics.get("methods", {}).items() if key.startswith(prefix)
    }
    return _bars("contrast", methods)


def _bars(name: str, measured: dict[str, dict]) -> pd.DataFrame:
    columns = [name, "top1", "interval_low", "interval_high"]
    return pd.DataFrame(
        [
            {name: key.replace("_", " "), **{column: value[column] for column in columns[1:]}}
            for key, value in measured.items()
        ],
        columns=columns,
    )
