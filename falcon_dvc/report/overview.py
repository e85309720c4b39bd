"""Collect the numbers of the overview, all measurements, and the claims."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts import shortfalls
from falcon_dvc.artifacts.formats import read_json, read_table
from falcon_dvc.claims.verdicts import CLAIMS, Verdict
from falcon_dvc.html.measurements import Measurement, MeasurementTable, at, tabulate
from falcon_dvc.report.labels import labelled

# Rows of the overview: label, metrics file, keys. A row without a measurement is left out.
OVERVIEW = (
    ("features of the space", "explainability", "features"),
    ("features chosen", "explainability", "chosen"),
    ("features that fire on enough images", "explainability", "single.explained"),
    ("of these interpretable", "explainability", "single.interpretable.share"),
    ("… by the released rule", "explainability", "single.released_rule.share"),
    ("pairs that fire together", "explainability", "groups_of_2.explained"),
    ("of these interpretable", "explainability", "groups_of_2.interpretable.share"),
    ("triples that fire together", "explainability", "groups_of_3.explained"),
    ("of these interpretable", "explainability", "groups_of_3.interpretable.share"),
    ("features with a clear truth", "evaluation", "clear_truth"),
    ("first concept is right", "evaluation", "all.top1"),
    ("… of those that see an object", "evaluation", "object.top1"),
    ("… a colour", "evaluation", "colour.top1"),
    ("… a texture", "evaluation", "texture.top1"),
    ("… a background", "evaluation", "background.top1"),
    ("… a position", "evaluation", "position.top1"),
    ("right among the first five", "evaluation", "all.top5"),
    ("without contrast: first is right", "evaluation", "methods.falcon_off.top1"),
    ("baseline, CLIP-Dissect's soft-WPMI: first is right", "evaluation", "methods.soft_wpmi.top1"),
    ("baseline, the best constant: first is right", "evaluation", "methods.best_constant.top1"),
    ("control, shuffled activations: first is right", "evaluation", "methods.shuffled_activations.top1"),
    ("failures of the classifier", "failures", "failures"),
    ("of those by the planted shortcut: it is named first", "failures", "shortcut.at_work.share"),
    ("control, shuffled blame: it is named first", "failures", "shortcut.at_work_by_chance.share"),
    ("control, other failures: it is named first", "failures", "shortcut.at_work_other_failures.share"),
)
# Tables of measurements: title, description, metrics file; one column for each encoder.
OF_ENCODERS = (
    ("Interpretability", "Do the crops of a feature look more alike than random crops?", "explainability"),
    ("Right or wrong", "First concepts against the attribute that a feature follows on held-out images.", "evaluation"),
    ("Concepts", "What the scoring found, and what it left out.", "concepts"),
    ("Groups", "What features say together that none of them says alone.", "groups"),
    ("Failures", "What a classifier gets wrong, whether its causes are named, and what repairs it.", "failures"),
)
OF_THE_RUN = (
    ("Images", "Images that could be read, by split.", "images"),
    ("Captions", "The caption corpus.", "captions"),
    ("Words", "What was found in the captions.", "parsed"),
    ("Image-text encoder", "Held-out zero-shot accuracy of the encoder that reads the crops.", "clip"),
)


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, the statements that it is divided into, and the number of statements with each verdict."""

    name: str
    text: str
    verdicts: dict[str, int]
    rows: list[dict[str, str]]


def claims() -> list[Claim]:
    """Read the claims of this run; empty if it has no table of claims."""
    path = paths.table("claims")
    if not path.is_file():
        return []
    table = read_table(path).astype(str)
    return [_claim(str(name), rows) for name, rows in table.groupby("claim", sort=False)]


def _claim(name: str, rows: pd.DataFrame) -> Claim:
    counts = {verdict: int((rows["verdict"] == verdict).sum()) for verdict in get_args(Verdict)}
    present = {verdict: count for verdict, count in counts.items() if count}
    return Claim(
        name,
        CLAIMS.get(name, ""),
        present,
        [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")],
    )


def _metrics(name: str) -> Any | None:
    """Read a metrics file; None if this run has none."""
    path = paths.metrics(name)
    return read_json(path) if path.is_file() else None


def _of_encoders(kind: str, params: Any) -> dict[str, Any | None]:
    """Read the metrics files of a kind, whatever an earlier run with other params left; None where nothing was measured."""
    measured = {"evaluation": params.encoders if params.worlds else (), "failures": params.failures.encoders}
    files = {name: _metrics(f"{kind}_{name}") for name in measured.get(kind, params.encoders)}
    if kind == "groups":
        return {name: content for name, content in files.items() if _has_groups(content)}
    return {
        name: None if kind == "failures" and at(content, "images") == Measurement(0) else content
        for name, content in files.items()
    }


def _has_groups(content: Any | None) -> bool:
    """Whether a metrics file counts a group of two or more features."""
    return content is not None and any(size != "of_1" for size in content.get("groups", {}))


def at_a_glance(params: Any) -> list[tuple[str, list[Measurement | None]]]:
    """Collect the main numbers, one column for each encoder."""
    files = {kind: _of_encoders(kind, params) for kind in dict.fromkeys(kind for _, kind, _ in OVERVIEW)}
    content = {kind: [of_kind.get(name) for name in params.encoders] for kind, of_kind in files.items()}
    rows = [(label, [at(metrics, path) for metrics in content[kind]]) for label, kind, path in OVERVIEW]
    return [row for row in rows if any(row[1])]


def measurements(params: Any) -> list[MeasurementTable]:
    """Make tables of all metrics files, except those of transfers; a table of a part that params switch off has no columns."""
    of_encoders = [labelled(tabulate(title, about, _of_encoders(kind, params))) for title, about, kind in OF_ENCODERS]
    of_the_run = [row for row in OF_THE_RUN if params.worlds or row[2] != "clip"]
    return of_encoders + [
        labelled(tabulate(title, about, {"this run": _metrics(kind)})) for title, about, kind in of_the_run
    ]


def lacking_of_run() -> list[str]:
    """Say what the images, captions and words of this run lack."""
    said = {"images": shortfalls.of_images, "captions": shortfalls.of_captions, "parsed": shortfalls.of_words}
    present = ((_metrics(kind), of_kind) for kind, of_kind in said.items())
    return [sentence for metrics, of_kind in present if metrics is not None for sentence in of_kind(metrics)]


def lacking_of_encoder(name: str) -> list[str]:
    """Say which features of an encoder are not explained or have no word, and why."""
    return shortfalls.of_features(_metrics(f"search_{name}") or {}) + shortfalls.of_concepts(
        _metrics(f"concepts_{name}") or {}
    )


def transfer_measurements(pairs: Mapping[str, Any]) -> MeasurementTable:
    """Make the table of the transfers, one column for each ordered pair."""
    about = "A linear map carries the concepts of one space to another; measured on images that it was not learnt on."
    columns = {f"{pair.explained} → {pair.unseen}": _metrics(f"transfer_{name}") for name, pair in pairs.items()}
    return labelled(tabulate("Transfer", about, columns))
