"""The headline numbers of a run, which `dvc metrics show` and `dvc exp show` print."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json
from falcon_dvc.html.measurements import at

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params

MOST = 25  # columns of a table that people can read


class Headline(NamedTuple):
    """A headline number: where it is, and how it is combined over encoders or pairs.

    Attributes
    ----------
    name : its key in ``reports/summary.json``.
    kind : the metrics file is ``KIND.json``, or ``KIND_NAME.json`` for each encoder or pair NAME.
    key : dotted key in that file.
    weight : dotted key of the weight in a mean; None for a sum, "" for a mean without weights.
    """

    name: str
    kind: str
    key: str
    weight: str | None = None


METHOD = "methods.{}.top1", "methods.{}.features"
NUMBERS = (
    Headline("images", "images", "images"),
    Headline("captions", "captions", "captions"),
    Headline("features", "explainability", "features"),
    Headline("features_explained", "explainability", "single.explained"),
    Headline("interpretable", "explainability", "single.interpretable.share", "single.explained"),
    Headline("interpretable_shuffled", "explainability", "shuffled_activations.share", "shuffled_activations.features"),
    Headline("features_and_groups", "concepts", "groups"),
    Headline("first_score", "concepts", "first_concept.score", "groups"),
    Headline("clear_truth", "evaluation", "clear_truth"),
    Headline("first_right", "evaluation", "all.top1", "all.features"),
    Headline("five_right", "evaluation", "all.top5", "all.features"),
    Headline("first_right_no_contrast", "evaluation", *(key.format("falcon_off") for key in METHOD)),
    Headline("first_right_soft_wpmi", "evaluation", *(key.format("soft_wpmi") for key in METHOD)),
    Headline("first_right_best_constant", "evaluation", *(key.format("best_constant") for key in METHOD)),
    Headline("first_right_shuffled", "evaluation", *(key.format("shuffled_activations") for key in METHOD)),
    Headline("groups_new_concept", "groups", "of_all_sizes.new_concept.share", ""),
    Headline("groups_gain", "groups", "of_all_sizes.gain.mean", "of_all_sizes.measured"),
    Headline("units_right", "units", "all_units.falcon.top1.share", "all_units.units"),
    Headline("classifier_accuracy", "failures", "accuracy.share", "images"),
    Headline("failures", "failures", "failures"),
    Headline("shortcut_named", "failures", "shortcut.at_work.share", "shortcut.at_work.failures"),
    Headline("shortcut_named_shuffled", "failures", "shortcut.at_work_by_chance.share", "shortcut.at_work.failures"),
    Headline("transfer_r2", "transfer", "r2.median", ""),
    Headline("transfer_same_first", "transfer", "agreement.same_first.mean", "groups"),
    Headline("transfer_same_first_shuffled", "transfer", "agreement.same_first_null.mean", "groups"),
)


def headline(params: Params) -> dict[str, float]:
    """Combine the headline numbers of this run from its metrics files; what was not measured is absent."""
    found = {number.name: _combined(number, list(_files(number.kind, params))) for number in NUMBERS}
    return {name: value for name, value in found.items() if value is not None}


def _files(kind: str, params: Params) -> Iterator[Any]:
    """Yield the content of each metrics file of a kind that belongs to these params."""
    names = params.transfers if kind == "transfer" else params.encoders
    for path in [paths.metrics(kind), *(paths.metrics(f"{kind}_{name}") for name in names)]:
        if path.is_file():
            yield read_json(path)


def _combined(number: Headline, files: list[Any]) -> float | None:
    """Sum or average a number over files; None if no file has it."""
    present = [(content, found.value) for content in files if (found := at(content, number.key)) is not None]
    if number.weight is None:
        return sum(value for _, value in present) if present else None
    weights = [_weight(content, number.weight) for content, _ in present]
    total = sum(weights)
    return sum(weight * value for weight, (_, value) in zip(weights, present, strict=True)) / total if total else None


def _weight(content: Any, key: str) -> float:
    """Return the weight of a file in a mean: 1 without a key, 0 if the file does not have it."""
    found = at(content, key) if key else None
    return 1.0 if not key else found.value if found else 0.0
