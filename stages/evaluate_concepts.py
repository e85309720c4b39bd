"""Are the explanations right? Every method's words against what each feature sees, and on held-out images (rendered world)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table, write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.concepts.scoring.corpus import read_corpus
from falcon_dvc.concepts.words.listing import listed_words
from falcon_dvc.evaluation.ground_truth import (
    heldout_attributes,
    names_of_attributes,
    selectivity_of,
    truth_of,
    with_rank_of_truth,
)
from falcon_dvc.evaluation.methods import Words, all_methods, best_constant, constant, read_captioned_crops
from falcon_dvc.evaluation.statistics import mean_with_interval
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.params.schema import EvaluateConcepts, Params

MEASURES = ("pearson", "auprc", "auc", "mad")


def run(params: Params, name: str) -> StageSummary:
    """Write each single feature's truth and whether its concepts name it, beside every other method on the same crops."""
    settings = params.evaluate_concepts
    rows, attributes = heldout_attributes(params.data.images)
    names = names_of_attributes(read_table(f"{params.data.images}/lexicon.parquet"))
    activations = read_array(paths.activations(name) / "features.npy")[rows]
    truth = _explained(truth_of(activations, attributes, settings.clear), name)
    methods = _all_words(params, name, truth, names)
    judgements = {
        method: selectivity_of(with_rank_of_truth(truth, words, names), activations, attributes, names)
        for method, words in track(methods.items(), "judging methods", total=len(methods))
    }
    write_table(paths.table(f"{name}_truth"), judgements["falcon"])
    write_table(paths.table(f"{name}_methods"), _methods_table(judgements))
    metrics = _metrics(judgements, settings)
    summary = StageSummary(
        read={"held-out images": len(rows), "features": len(truth)},
        dropped={"features": {"without a clear truth": len(truth) - metrics["clear_truth"]}},
        wrote={f"rows to {paths.table(f'{name}_truth')}": len(truth)},
    )
    write_json(paths.metrics(f"evaluation_{name}"), {**metrics, **summary.metrics})
    write_table(paths.plot(f"{name}_evaluation"), _by_kind(metrics))
    write_table(paths.plot(f"{name}_methods"), _by_method(metrics))
    write_table(paths.plot(f"{name}_contrast"), _by_contrast(metrics))
    return summary


def _explained(truth: pd.DataFrame, name: str) -> pd.DataFrame:
    """The truth of those features that are explained at all."""
    explained = read_table(paths.groups(name) / "groups.parquet")["group"]
    return truth[truth["group"].isin(explained)].reset_index(drop=True)


def _all_words(params: Params, name: str, truth: pd.DataFrame, names: dict) -> dict[str, Words]:
    """The words of every method; `falcon` is the run's own explanation, as the report shows it."""
    corpus, settings = read_corpus(), params.concepts
    own = listed_words(read_table(paths.concepts(name) / "concepts.parquet"))
    clear = truth[truth["clear"]]
    label = constant(truth["group"], best_constant(clear if len(clear) else truth, names, settings.top))
    return {
        "falcon": own,
        **all_methods(read_captioned_crops(name, corpus, settings), corpus, settings),
        "best_constant": label,
    }


def _methods_table(judgements: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a method and feature with a clear truth."""
    columns = ["method", "group", "kind", "value", "first_concept", "rank_of_truth", *MEASURES]
    parts = [part[part["clear"]].assign(method=method) for method, part in judgements.items()]
    return pd.concat(parts, ignore_index=True)[columns]


def _metrics(judgements: dict[str, pd.DataFrame], settings: EvaluateConcepts) -> dict:
    """Share of the features with a clear truth that are named rightly: in all, by kind, and by method."""
    own = judgements["falcon"]
    clear = own[own["clear"]]
    if clear.empty:
        return {"features": len(own), "clear_truth": 0}
    kinds = {kind: _hits(part, settings) for kind, part in clear.groupby("kind")}
    methods = {
        method: _hits(part[part["clear"]], settings) | _selectivity(part[part["clear"]], settings)
        for method, part in judgements.items()
    }
    return {
        "features": len(own),
        "clear_truth": len(clear),
        "all": _hits(clear, settings),
        **kinds,
        "methods": methods,
    }


def _hits(part: pd.DataFrame, settings: EvaluateConcepts) -> dict:
    """Shares over features, with an interval for the first word; a truth that is not listed has no reciprocal rank."""
    return {
        "features": len(part),
        **mean_with_interval(part["hit_first"], settings, "top1"),
        "top5": float(part["hit_five"].mean()),
        "mean_reciprocal_rank": float((1 / part["rank_of_truth"]).mean()),
    }


def _selectivity(part: pd.DataFrame, settings: EvaluateConcepts) -> dict:
    """Mean over features of how well the first word predicts the activation on held-out images."""
    return {measure: mean_with_interval(part[measure], settings, "mean") for measure in MEASURES}


def _by_kind(metrics: dict) -> pd.DataFrame:
    """Plot data: the share that is right, in all, by kind of truth."""
    measured = {kind: value for kind, value in metrics.items() if isinstance(value, dict) and kind != "methods"}
    return _bars("truth", measured)


def _by_method(metrics: dict) -> pd.DataFrame:
    """Plot data: the share that is right, by method."""
    return _bars("method", metrics.get("methods", {}))


def _by_contrast(metrics: dict) -> pd.DataFrame:
    """Plot data: the share that is right, by contrast, everything else being equal."""
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
