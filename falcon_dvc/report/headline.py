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
    kind : the metrics file is ``KIND.json``, ``KIND.json`` with a section for each encoder, or ``KIND_NAME.json`` for
        each encoder or pair NAME.
    key : dotted key in that file.
    weight : dotted key of the weight in a mean; None for a sum, "" for a mean without weights.
    untrained : whether it is of the controls, which no other number counts.
    """

    name: str
    kind: str
    key: str
    weight: str | None = None
    untrained: bool = False


def _method(name: str) -> tuple[str, str]:
    """Return the keys of the share of features with a clear truth that a method names, and of their number."""
    return f"methods.{name}.top1", f"methods.{name}.features"


EVERY_FEATURE = "every_feature.falcon.top1", "every_feature.falcon.features"
NUMBERS = (
    Headline("images", "images", "images"),
    Headline("captions", "captions", "captions"),
    Headline("features", "explainability", "features"),
    Headline("explained", "explained", "feature.share", "feature.measured"),
    Headline("explained_untrained", "explained", "feature.share", "feature.measured", untrained=True),
    Headline("explained_permuted", "explained", "feature.permuted_words.share", "feature.measured"),
    Headline("interpretable", "explainability", "single.interpretable.share", "single.explained"),
    Headline("first_score", "concepts", "first_concept.score", "groups"),
    Headline("clear_truth", "evaluation", "clear_truth"),
    Headline("first_right", "evaluation", "all.top1", "all.features"),
    Headline("first_right_untrained", "evaluation", "all.top1", "all.features", untrained=True),
    Headline("first_right_every_feature", "evaluation", *EVERY_FEATURE),
    Headline("five_right", "evaluation", "all.top5", "all.features"),
    Headline("first_right_clip_dissect", "evaluation", *_method("clip_dissect")),
    Headline("first_right_nearest_text", "evaluation", *_method("nearest_text")),
    Headline("first_right_caption_correlation", "evaluation", *_method("caption_correlation")),
    Headline("first_right_best_constant", "evaluation", *_method("best_constant")),
    Headline("class_named", "classes", "all.top1", "all.features"),
    Headline("class_among_five", "classes", "all.top5", "all.features"),
    Headline("groups_new_concept", "groups", "of_all_sizes.new_concept.share", ""),
    Headline("groups_gain", "groups", "of_all_sizes.gain.mean", "of_all_sizes.measured"),
    Headline("units_right", "units", "all_units.falcon.top1.share", "all_units.units"),
    Headline("classifier_accuracy", "failures", "accuracy.share", "images"),
    Headline("shortcut_named", "failures", "shortcut.at_work.share", "shortcut.at_work.failures"),
    Headline("shortcut_named_shuffled", "failures", "shortcut.at_work_by_chance.share", "shortcut.at_work.failures"),
    Headline("transfer_r2", "transfer", "r2.median", ""),
    Headline("transfer_same_first", "transfer", "agreement.same_first.mean", "groups"),
)


def headline(params: Params) -> dict[str, float]:
    """Combine the headline numbers of this run from its metrics files; what was not measured is absent."""
    found = {number.name: _combined(number, list(_files(number, params))) for number in NUMBERS}
    return {name: value for name, value in found.items() if value is not None}


def _files(number: Headline, params: Params) -> Iterator[Any]:
    """Yield the content of each metrics file, or of each section of it, that a number of these params is combined from."""
    encoders = [name for name in params.encoders if (name not in params.without_controls) == number.untrained]
    names = params.transfers if number.kind == "transfer" else encoders
    for path in [paths.metrics(number.kind), *(paths.metrics(f"{number.kind}_{name}") for name in names)]:
        if path.is_file():
            content = read_json(path)
            yield from [content[name] for name in names if name in content] if number.kind == "explained" else [content]


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
