"""Study stage: explain the encoders of one world and its untrained controls; measure what every method gets right."""

from __future__ import annotations

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_json, read_table, write_table
from falcon_dvc.evaluation import comparison
from falcon_dvc.evaluation.ground_truth import Judge, read_judge
from falcon_dvc.params.schema import Params
from worlds import downstream, run_stages, variations
from worlds.worlds import params_of, read_world, scratch

MEASURES = ("pearson", "auprc", "auc", "mad")
Judged = dict[str, pd.DataFrame]  # by method: a row for each explained feature


def run(name: str) -> None:
    """Write the five tables of a world.

    ``tables/NAME_features.csv`` has a row for each explained feature, and a column for each method: whether its first word is
    right. ``NAME_methods.csv`` sums them up, ``NAME_explained.csv`` counts what is explained, ``NAME_explainability.csv``
    what is interpretable, and ``NAME_uses.csv`` lists the metrics of groups, failures and transfer.
    """
    world, is_used = read_world(name), name in downstream.worlds()
    params = run_stages.without_training(params_of(world))
    with scratch() as home:
        run_stages.borrow_models(home, name, params)
        run_stages.prepare(params)
        for encoder in params.encoders:
            run_stages.explain(params, encoder)
        run_stages.measure(params)
        judges = {key: read_judge(params.data.images, key, params.evaluate_concepts.clear) for key in params.encoders}
        compared = {key: comparison.compared_methods(params, key, judge) for key, judge in judges.items()}
        tables = {
            "explained": _explained(params) if world.controls else pd.DataFrame(columns=EXPLAINED),
            "explainability": pd.concat([_explainability(encoder) for encoder in params.encoders]),
            "uses": downstream.figures(params, world) if is_used else downstream.NONE,
        }
        _add_variations(compared, judges, params, world.variations)
        tables |= {"methods": _methods(compared), "features": _features(compared)}
        for kind, table in tables.items():
            write_table(home / "tables" / f"{name}_{kind}.csv", table.assign(world=name, role=world.role))


def _add_variations(compared: dict[str, Judged], judges: dict[str, Judge], params: Params, names: list[str]) -> None:
    """Add FALCON under other settings as further methods of the trained encoders; overwrites the artifacts of the default."""
    trained = params.without_controls
    for variation in names:
        for encoder, words in variations.words_of(variation, params, trained).items():
            compared[encoder][variation] = judges[encoder].judged(words)


EXPLAINED = ["encoder", "kind", "items", "explained", "uncorrected", "permuted_explained", "median_pearson"]


def _explained(params: Params) -> pd.DataFrame:
    """Count the features, groups and hand-made sets of each encoder that are explained.

    ``items`` of the features is the width of the space: features without enough images are not explained.
    """
    table = read_table(paths.EXPLAINED)
    table["uncorrected"] = table["p_value"] <= params.measure_faithfulness.fdr
    counts = table.groupby(["encoder", "kind"], as_index=False).agg(
        items=("group", "size"),
        explained=("explained", "sum"),
        uncorrected=("uncorrected", "sum"),
        permuted_explained=("permuted_explained", "sum"),
        median_pearson=("pearson", "median"),
    )
    features = counts["kind"] == "feature"
    counts.loc[features, "items"] = [_width(encoder) for encoder in counts.loc[features, "encoder"]]
    return counts[EXPLAINED]


def _width(encoder: str) -> int:
    return int(read_array(paths.groups(encoder) / "activations.npy").shape[1])


def _explainability(encoder: str) -> pd.DataFrame:
    """Return the numbers of interpretable groups by size and rule, with the width of the space."""
    table = read_table(paths.EXPLAINABILITY / f"{encoder}.parquet")
    shuffled = read_json(paths.metrics(f"explainability_{encoder}"))["shuffled_activations"]
    counts = table.groupby("size").agg(
        explained=("group", "size"),
        interpretable=("interpretable", "sum"),
        released_rule=("released_interpretable", "sum"),
    )
    return counts.reset_index().assign(
        encoder=encoder,
        features=_width(encoder),
        shuffled=shuffled["features"],
        shuffled_interpretable=shuffled["interpretable"],
    )


def _features(compared: dict[str, Judged]) -> pd.DataFrame:
    """Return a row for each feature: whether the first word of each method is right (1 or 0)."""
    return pd.concat([_hits_of_features(encoder, judged) for encoder, judged in compared.items()], ignore_index=True)


def _hits_of_features(encoder: str, judged: Judged) -> pd.DataFrame:
    own = judged["falcon"]
    hits = {method: table["hit_first"].astype(int).to_numpy() for method, table in judged.items()}
    keys = {"feature": own["group"], "kind": own["kind"], "value": own["value"], "clear": own["clear"].astype(int)}
    return pd.DataFrame({"encoder": encoder, **keys, **hits})


def _methods(compared: dict[str, Judged]) -> pd.DataFrame:
    """Return the hits of each method, over the features with a clear truth and over every feature."""
    return pd.DataFrame(
        [
            {"encoder": encoder, "method": method, "scope": scope, **_summed_up(rows)}
            for encoder, judged in compared.items()
            for method, table in judged.items()
            for scope, rows in (("clear", table[table["clear"]]), ("every", table))
            if len(rows)
        ]
    )


def _summed_up(rows: pd.DataFrame) -> dict[str, float]:
    return {
        "features": len(rows),
        "first_right": int(rows["hit_first"].sum()),
        "first_or_tie": int(comparison.first_or_tie(rows).sum()),
        "five_right": int(rows["hit_five"].sum()),
        "truth_listed": int(np.isfinite(rows["rank_of_truth"]).sum()),
        **{measure: float(rows[measure].mean()) for measure in MEASURES},
    }
