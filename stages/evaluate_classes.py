"""Compare the words of every method with the classes of the user's images, on held-out images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.evaluation import comparison
from falcon_dvc.evaluation.class_truth import halves, read_class_judge

if TYPE_CHECKING:
    from falcon_dvc.params.schema import EvaluateClasses, Params

HALVES = ("choosing_classes", "reporting_classes")


def run(params: Params, name: str) -> StageSummary:
    """Write the class that each feature follows, and whether its words name it, for every method on the same images.

    The metrics hold all features that follow a class, and those of each half of the classes: settings that are chosen on
    the first half are reported on the second.
    """
    settings = params.evaluate_classes
    judge = read_class_judge(params, name)
    compared = comparison.compared_methods(params, name, judge)
    write_table(paths.table(f"{name}_classes"), compared["falcon"])
    write_table(paths.table(f"{name}_classes_methods"), comparison.methods_table(compared))
    metrics = comparison.shares_right(compared, settings)
    metrics |= _by_halves(compared, halves(judge.truth, settings.seed), settings)
    summary = StageSummary(
        read={"held-out images": len(judge.attributes), "features": len(judge.truth)},
        noted={"features that follow no class (evaluate_classes.clear)": len(judge.truth) - metrics["clear_truth"]},
        wrote={f"rows to {paths.table(f'{name}_classes')}": len(judge.truth)},
    )
    write_json(paths.metrics(f"classes_{name}"), {**metrics, "classes": judge.attributes.shape[1]})
    write_table(paths.plot(f"{name}_classes_methods"), comparison.bars_by_method(metrics))
    return summary


def _by_halves(compared: dict[str, pd.DataFrame], first: np.ndarray, settings: EvaluateClasses) -> dict[str, Any]:
    """Compute the metrics of each half of the classes; nothing for a half that no feature follows."""
    measured = {
        half: comparison.shares_right({method: table[rows] for method, table in compared.items()}, settings)
        for half, rows in zip(HALVES, (first, ~first), strict=True)
    }
    return {half: shares["methods"] for half, shares in measured.items() if "methods" in shares}
