"""Decide which features and groups are explained: their first word follows them better than by chance, on held-out images.

Chance is what features of encoders with random weights reach that went through the same stages (`controls_of`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from falcon_dvc.evaluation.faithfulness import p_values
from falcon_dvc.evaluation.statistics import mean_with_interval
from falcon_dvc.groups.groups import discoveries

if TYPE_CHECKING:
    from falcon_dvc.params.schema import MeasureFaithfulness

LEAST_NULL = 20  # controls' groups; fewer cannot reach a small p-value, so single features join them


def controls_of(name: str, control_of: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the controls of an encoder, or the other controls of the same architecture if it is a control itself.

    Parameters
    ----------
    control_of : for each encoder the encoders whose control it is; empty if it is none.
    """
    own = set(control_of[name]) or {name}
    return [other for other, of in control_of.items() if other != name and own & set(of)]


def enough(null: pd.DataFrame, fdr: float) -> bool:
    """Return whether the controls have enough features for a p-value of at most `fdr`: ``1 / (n + 1) <= fdr``.

    With fewer features, nothing could be explained, whatever its word is worth.

    Parameters
    ----------
    null : rows of all controls, as for `decided`.
    """
    return (int((null["kind"] == "feature").sum()) + 1) * fdr >= 1


def decided(table: pd.DataFrame, null: pd.DataFrame, fdr: float) -> pd.DataFrame:
    """Add p-values, and which rows are explained at a false discovery rate: features and groups apart.

    Parameters
    ----------
    table : columns ``kind`` (feature, group, class set, random set), ``excess``, ``permuted_excess``.
    null : the same columns, of all controls.
    """
    columns = {key: np.ones(len(table)) for key in ("p_value", "permuted_p_value")}
    explained = {key: np.zeros(len(table), dtype=bool) for key in ("explained", "permuted_explained")}
    for kind, rows in table.groupby("kind").indices.items():
        chance = _null_of(str(kind), null)
        for prefix in ("", "permuted_"):
            p = p_values(table[f"{prefix}excess"].to_numpy()[rows], chance)
            columns[f"{prefix}p_value"][rows] = p
            explained[f"{prefix}explained"][rows] = discoveries(p, fdr)
    return table.assign(**columns, **explained)


def _null_of(kind: str, null: pd.DataFrame) -> np.ndarray:
    """Select the controls' excess for one kind of row: that of groups for groups, of single features otherwise."""
    features, groups = (null.loc[null["kind"] == of, "excess"].to_numpy() for of in ("feature", "group"))
    return groups if kind == "group" and len(groups) >= LEAST_NULL else features


def shares(table: pd.DataFrame, features: int, settings: MeasureFaithfulness) -> dict[str, Any]:
    """Compute the explained shares of an encoder as metrics.

    Parameters
    ----------
    table : the encoder's rows of `decided`; without the column ``explained`` if there was no control.
    features : number of features that count: those without enough images are not explained.
    """
    metrics: dict[str, Any] = {}
    for kind, rows in table.groupby("kind"):
        measured = {"measured": len(rows), "median_pearson": float(rows["pearson"].median())}
        if "explained" in rows:
            missing = np.zeros(max(features - len(rows), 0) if kind == "feature" else 0)
            measured |= _decisions(rows, missing, settings)
        metrics[str(kind).replace(" ", "_")] = measured
    return metrics


def _decisions(rows: pd.DataFrame, missing: np.ndarray, settings: MeasureFaithfulness) -> dict[str, Any]:
    """Compute the shares that are explained, by p-value alone, and with permuted words, each with its interval."""

    def share(values: pd.Series) -> dict[str, float]:
        return mean_with_interval(np.concatenate([values, missing]), settings)

    return {
        **share(rows["explained"]),
        "uncorrected": share(rows["p_value"] <= settings.fdr),
        "permuted_words": share(rows["permuted_explained"]),
    }
