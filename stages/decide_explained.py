"""Decide which features and groups are explained, by comparison with encoders of random weights (claim C1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.activations.stored import open_rows
from falcon_dvc.artifacts.formats import read_table, write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.evaluation.explained import controls_of, decided, enough, shares
from falcon_dvc.groups.choice import number_chosen

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params

ROWS = ("group", "size", "kind", "word")
MEASURED = ("pearson", "pearson_low", "pearson_high", "permuted_word", "permuted_pearson")  # on held-out images
ABOVE_LEVEL = ("level", "excess", "permuted_excess")  # with copies of random weights


def run(params: Params) -> StageSummary:
    """Write ``explained.parquet`` with a row for each feature, group and hand-made set of every encoder, and the metrics."""
    tables = {name: _read(name) for name in params.encoders}
    verdicts = {name: _verdict(name, tables, params) for name in params.encoders}
    metrics = {name: _metrics(name, table, params) for name, table in verdicts.items()}
    lacking = {name: _why(name, tables, params) for name, table in verdicts.items() if "explained" not in table}
    rows = pd.concat(
        [table.assign(encoder=name, no_verdict=lacking.get(name, "")) for name, table in verdicts.items()],
        ignore_index=True,
    )
    write_table(paths.EXPLAINED, rows)
    write_json(paths.metrics("explained"), metrics)
    write_table(paths.plot("explained"), _plotted(metrics))
    return StageSummary(
        read={"encoders": len(tables)},
        lacking=[f"{name}: {why}, so no verdict is calibrated" for name, why in lacking.items()],
        wrote={f"rows to {paths.EXPLAINED}": len(rows)},
    )


def _read(name: str) -> pd.DataFrame:
    """Read the faithfulness of an encoder's rows, with all columns of what was measured."""
    table = read_table(paths.faithfulness(name))
    measured = [columns for columns in (MEASURED, ABOVE_LEVEL) if set(columns) & set(table.columns)]
    return table[[*ROWS, *(column for columns in measured for column in columns)]]


def _verdict(name: str, tables: dict[str, pd.DataFrame], params: Params) -> pd.DataFrame:
    """Decide about the rows of one encoder; without a control, or with too small a one, return them as they are."""
    controls, fdr = _controls(name, params), params.measure_faithfulness.fdr
    if not controls or "excess" not in tables[name]:
        return tables[name]
    null = pd.concat([tables[control] for control in controls], ignore_index=True)
    return decided(tables[name], null, fdr) if enough(null, fdr) else tables[name]


def _controls(name: str, params: Params) -> list[str]:
    return controls_of(name, {key: spec.control_of for key, spec in params.encoders.items()})


def _why(name: str, tables: dict[str, pd.DataFrame], params: Params) -> str:
    """Say why nothing is decided about an encoder."""
    if "pearson" not in tables[name]:
        return "no image is held out (data.heldout)"
    if not _controls(name, params):
        return "no other encoder is a control of it (encoders.NAME.control_of)"
    if "excess" not in tables[name]:
        return "there is no copy with random weights (measure_faithfulness.reference_encoders)"
    return "its controls have too few features with enough images (find_groups.rule quantile gives every feature some)"


def _metrics(name: str, table: pd.DataFrame, params: Params) -> dict[str, Any]:
    """Compute the metrics of one encoder; only its number of rows if nothing was measured."""
    chosen = number_chosen(params.encoders[name].features)
    width = open_rows(paths.groups(name) / "activations").shape[1]
    controls = {"controls": len(_controls(name, params))} if "explained" in table else {}
    measured = (
        shares(table, width if chosen is None else chosen, params.measure_faithfulness) if "pearson" in table else {}
    )
    return {"is_a_control": bool(params.encoders[name].control_of), **controls, **measured}


def _plotted(metrics: dict[str, Any]) -> pd.DataFrame:
    """Compute plot data: the explained share of the features of each encoder."""
    rows = [
        {"encoder": name, **{key: of["feature"].get(key, np.nan) for key in ("share", "interval_low", "interval_high")}}
        for name, of in metrics.items()
        if "share" in of.get("feature", {})
    ]
    return pd.DataFrame(rows, columns=["encoder", "share", "interval_low", "interval_high"])
