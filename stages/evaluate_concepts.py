"""Compare the words of every method with the planted truth, on held-out images of the synthetic data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.evaluation import comparison
from falcon_dvc.evaluation.ground_truth import read_judge

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params


def run(params: Params, name: str) -> StageSummary:
    """Write each single feature's truth and whether its concepts name it, for every method on the same crops."""
    settings = params.evaluate_concepts
    judge = read_judge(params.data.images, name, settings.clear)
    compared, truth = comparison.compared_methods(params, name, judge), judge.truth
    write_table(paths.table(f"{name}_truth"), compared["falcon"])
    write_table(paths.table(f"{name}_methods"), comparison.methods_table(compared))
    metrics = comparison.shares_right(compared, settings)
    summary = StageSummary(
        read={"held-out images": len(judge.attributes), "features": len(truth)},
        dropped={"features": {"without a clear truth (evaluate_concepts.clear)": len(truth) - metrics["clear_truth"]}},
        wrote={f"rows to {paths.table(f'{name}_truth')}": len(truth)},
    )
    write_json(paths.metrics(f"evaluation_{name}"), {**metrics, **summary.metrics})
    write_table(paths.plot(f"{name}_evaluation"), comparison.bars_by_kind(metrics))
    write_table(paths.plot(f"{name}_methods"), comparison.bars_by_method(metrics))
    write_table(paths.plot(f"{name}_contrast"), comparison.bars_by_contrast(metrics))
    return summary
