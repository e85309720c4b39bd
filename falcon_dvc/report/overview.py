"""Collect the numbers of the overview, all measurements, and the claims."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts import shortfalls
from falcon_dvc.artifacts.formats import read_json, read_table
from falcon_dvc.claims.verdicts import CLAIMS, Verdict
from falcon_dvc.html.measurements import Measurement, MeasurementTable, Section, at, tabulate
from falcon_dvc.report.labels import labelled, names_on_pages

Rows = Iterator[tuple[str, str, str]]

# Rows of the overview by heading: label, metrics file, keys. A row without a measurement is left out.
GLANCE = {
    "Explained: the first word follows the feature on held-out images": (
        ("features of the space", "explainability", "features"),
        ("features chosen", "explainability", "chosen"),
        ("features that fire on enough images", "explainability", "single.explained"),
        ("explained features, share", "explained", "feature.share"),
        ("… with permuted words (control)", "explained", "feature.permuted_words.share"),
        ("explained groups, share", "explained", "group.share"),
        ("explained sets of one class (control)", "explained", "class_set.share"),
        ("explained random sets (control)", "explained", "random_set.share"),
        ("correlation of the first word, median", "explained", "feature.median_pearson"),
    ),
    "Right: the first word names what the feature follows": (
        ("first word is right, every feature", "evaluation", "every_feature.falcon.top1"),
        ("features with a clear truth", "evaluation", "clear_truth"),
        ("first word is right", "evaluation", "all.top1"),
        ("… of those that see an object", "evaluation", "object.top1"),
        ("… a colour", "evaluation", "colour.top1"),
        ("… a texture", "evaluation", "texture.top1"),
        ("… a background", "evaluation", "background.top1"),
        ("… a position", "evaluation", "position.top1"),
        ("right among the first five", "evaluation", "all.top5"),
    ),
    "Sets of words: all words that raise R² by enough, against all attributes that the feature follows": (
        ("features that follow several words, share", "facets", "follow_several.share"),
        ("R² of the set on held-out images, median", "facets", "median_r2_of_set"),
        ("agreement of the set with the attributes, F1", "facets", "truth.set.f1.mean"),
        ("… of the first five words", "facets", "truth.first_five.f1.mean"),
        ("… of the first word", "facets", "truth.first.f1.mean"),
        ("… of permuted sets (control)", "facets", "truth.permuted_words.f1.mean"),
        ("the set names exactly these attributes, share", "facets", "truth.set.exact.mean"),
        ("… the first word", "facets", "truth.first.exact.mean"),
        ("… permuted sets (control)", "facets", "truth.permuted_words.exact.mean"),
    ),
    "Right: the first word names the class that the feature follows": (
        ("features that follow a class", "classes", "clear_truth"),
        ("first word names it", "classes", "all.top1"),
        ("one of the first five names it", "classes", "all.top5"),
    ),
    "Human captions of held-out images: agreement of the first word, AUPRC": (
        ("first word", "human_captions", "methods.falcon.auprc.mean"),
        ("permuted words (control)", "human_captions", "methods.permuted_words.auprc.mean"),
    ),
    "Interpretable: the crops look alike": (
        ("interpretable features, share", "explainability", "single.interpretable.share"),
        ("… by the released rule", "explainability", "single.released_rule.share"),
        ("pairs that fire together", "explainability", "groups_of_2.explained"),
        ("of these interpretable", "explainability", "groups_of_2.interpretable.share"),
        ("triples that fire together", "explainability", "groups_of_3.explained"),
        ("of these interpretable", "explainability", "groups_of_3.interpretable.share"),
    ),
    "What features do: each is removed from the held-out images that activate it most": (
        ("largest fall of a logit or cosine, mean", "ablation", "fall.mean"),
        ("… by random directions of the same norm (control)", "ablation", "random_fall.mean"),
        ("features whose first word names an output", "ablation", "features_whose_word_names_an_output"),
        ("of these, share where the named one falls most", "ablation", "word_names_it.share"),
        ("… with permuted words (control)", "ablation", "permuted_words.share"),
        ("fall of the named one, mean", "ablation", "own_word_fall.mean"),
        ("… of those that other features' words name (control)", "ablation", "other_words_fall.mean"),
        ("… size of its change by random directions (control)", "ablation", "own_word_random_change.mean"),
    ),
    "Below the maximum: the first word on images that activate the feature less": (
        ("lift of the word's score in the top decile, median", "quantiles", "top_decile.first_word.lift.median"),
        ("… in deciles 2 to 5", "quantiles", "deciles_2_to_5.first_word.lift.median"),
        ("… in deciles 6 to 10", "quantiles", "deciles_6_to_10.first_word.lift.median"),
        (
            "features whose word holds in deciles 2 to 5, share",
            "quantiles",
            "deciles_2_to_5.first_word.above_chance.share",
        ),
        ("… with permuted words (control)", "quantiles", "deciles_2_to_5.permuted_words.above_chance.share"),
    ),
    "Failures of the classifier": (
        ("accuracy of the linear probe", "probe", "accuracy.share"),
        ("… with permuted labels (control)", "probe", "permuted_labels.share"),
        ("number of failures", "failures", "failures"),
        ("of those by the planted shortcut: it is named first", "failures", "shortcut.at_work.share"),
        ("… shuffled blame (control)", "failures", "shortcut.at_work_by_chance.share"),
        ("… other failures (control)", "failures", "shortcut.at_work_other_failures.share"),
    ),
}
RIVALS = {
    "clip_dissect": "CLIP-Dissect, as released",
    "nearest_text": "nearest text",
    "caption_correlation": "correlation with captions",
    "contrastive_projection": "contrastive projection",
}
CONTROLS = {
    "best_constant": "best constant word (control)",
    "shuffled_activations": "shuffled activations (control)",
}


def _of_methods(key: str, kind: str = "evaluation") -> Rows:
    """List the rows of the methods that are compared, under one key of a metrics file."""
    right = {"falcon": "FALCON", "falcon_off": "FALCON without contrast", **RIVALS, **CONTROLS}
    for method, label in right.items():
        yield label, kind, f"{key}.{method}.top1"
        if method in RIVALS:
            yield "… FALCON less this, same features", kind, f"{key}.{method}.falcon_less_this.difference"


METHODS = {
    "Features with a clear truth": tuple(_of_methods("methods")),
    "Every feature": tuple(_of_methods("every_feature")),
    "Features that follow a class": tuple(_of_methods("methods", "classes")),
}
# Sections of a metrics file that have a table of their own.
OWN_TABLE = ("methods", "every_feature", "choosing_classes", "reporting_classes")
# Tables of measurements: title, description, metrics file (and its section); one column for each encoder.
OF_ENCODERS = (
    (
        "Explained",
        "Does the first word of a feature follow it on held-out images, better than words follow features of random weights?",
        "explained",
    ),
    ("Interpretability", "Do the crops of a feature look more alike than random crops?", "explainability"),
    ("Right or wrong", "First concepts against the attribute that a feature follows on held-out images.", "evaluation"),
    ("Methods", "FALCON and other methods, on the features with a clear truth.", "evaluation.methods"),
    ("Methods, every feature", "FALCON and other methods, on all features.", "evaluation.every_feature"),
    ("Classes", "First concepts against the class that a feature follows on held-out images.", "classes"),
    ("Methods, features that follow a class", "FALCON and other methods, on the same features.", "classes.methods"),
    ("Methods, first half of the classes", "Settings can be chosen on these.", "classes.choosing_classes"),
    ("Methods, second half of the classes", "Results can be reported on these.", "classes.reporting_classes"),
    ("Human captions", "First words against the captions that people wrote about held-out images.", "human_captions"),
    (
        "Linear probe",
        "A classifier that was fitted on the labels of the images, and permuted labels as a control.",
        "probe",
    ),
    (
        "Sets of words",
        "How many words a feature follows, and with known attributes: do its words name all that it follows?",
        "facets",
    ),
    ("Concepts", "What the scoring found, and what it left out.", "concepts"),
    ("Groups", "What features say together that none of them says alone.", "groups"),
    (
        "What features do",
        "A feature is removed from held-out images, or increased: which logit or cosine changes? Logits are compared with their mean.",
        "ablation",
    ),
    (
        "Below the maximum",
        "The first word by decile of the activations above 0: its mean score, and the share of images that show it.",
        "quantiles",
    ),
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
    """Read the metrics files of a kind by the name on pages; None where nothing was measured.

    Files that an earlier run with other params left are not read.
    """
    measured = {
        "evaluation": params.encoders if params.worlds else (),
        "failures": params.failures.encoders,
        "ablation": params.ablate_features.encoders,
        "classes": params.evaluate_classes.encoders,
        "human_captions": params.evaluate_human_captions.encoders,
        "probe": params.fit_probe.encoders,
    }
    names = names_on_pages(params)
    files = {names[name]: _of_encoder(kind, name) for name in names if name in measured.get(kind, params.encoders)}
    return {name: content for name, content in files.items() if kind != "groups" or _has_groups(content)}


def _of_encoder(kind: str, name: str) -> Any | None:
    """Read the metrics of one kind and encoder; None if they count nothing."""
    if kind == "explained":
        content = (_metrics(kind) or {}).get(name, {})
        return content if any(isinstance(value, Mapping) for value in content.values()) else None
    content = _metrics(f"{kind}_{name}")
    return None if kind == "failures" and at(content, "images") == Measurement(0) else content


def _has_groups(content: Any | None) -> bool:
    """Whether a metrics file counts a group of two or more features."""
    return content is not None and any(size != "of_1" for size in content.get("groups", {}))


def at_a_glance(params: Any) -> MeasurementTable:
    """Collect the main numbers, one column for each encoder; the controls are last."""
    return _selected("At a glance", GLANCE, params)


def compared_methods(params: Any) -> MeasurementTable:
    """Collect how often the first word of each method is right, one column for each encoder."""
    return _selected("Compared with other methods", METHODS, params)


def _selected(title: str, wanted: Mapping[str, Any], params: Any) -> MeasurementTable:
    """Make a table of chosen numbers, without the rows and sections in which nothing was measured."""
    kinds = {kind for rows in wanted.values() for _, kind, _ in rows}
    files = {kind: _of_encoders(kind, params) for kind in sorted(kinds)}
    columns = list(names_on_pages(params).values())
    sections = []
    for heading, rows in wanted.items():
        cells = [(label, [at(files[kind].get(name), path) for name in columns]) for label, kind, path in rows]
        sections.append(Section(heading, [row for row in cells if any(row[1])]))
    return MeasurementTable(title, "", columns, [section for section in sections if section.rows])


def measurements(params: Any) -> list[MeasurementTable]:
    """Make tables of all metrics files, except those of transfers; a table of a part that params switch off has no columns."""
    of_encoders = [labelled(tabulate(title, about, _section_of(kind, params))) for title, about, kind in OF_ENCODERS]
    of_the_run = [row for row in OF_THE_RUN if params.worlds or row[2] != "clip"]
    return of_encoders + [
        labelled(tabulate(title, about, {"this run": _metrics(kind)})) for title, about, kind in of_the_run
    ]


def _section_of(name: str, params: Any) -> dict[str, Any | None]:
    """Read the metrics files of a kind: without the sections that have a table of their own, or one of these alone."""
    kind, _, section = name.partition(".")
    files = _of_encoders(kind, params)
    if section:
        parts = {key: (content or {}).get(section) for key, content in files.items()}
        return {key: part and {section: part} for key, part in parts.items()}
    return {
        key: content and {name: part for name, part in content.items() if name not in OWN_TABLE}
        for key, content in files.items()
    }


def lacking_of_run() -> list[str]:
    """Say what the images, captions and words of this run lack."""
    said = {"images": shortfalls.of_images, "captions": shortfalls.of_captions, "parsed": shortfalls.of_words}
    present = ((_metrics(kind), of_kind) for kind, of_kind in said.items())
    return [sentence for metrics, of_kind in present if metrics is not None for sentence in of_kind(metrics)]


def lacking_of_encoder(name: str) -> list[str]:
    """Say which features of an encoder are not explained or have no word, and why."""
    return [
        *shortfalls.of_activations(_metrics(f"activations_{name}") or {}, name),
        *shortfalls.of_features(_metrics(f"search_{name}") or {}),
        *shortfalls.of_concepts(_metrics(f"concepts_{name}") or {}),
    ]


def transfer_measurements(pairs: Mapping[str, Any]) -> MeasurementTable:
    """Make the table of the transfers, one column for each ordered pair."""
    about = "A linear map carries the concepts of one space to another; measured on images that it was not learnt on."
    columns = {f"{pair.explained} → {pair.unseen}": _metrics(f"transfer_{name}") for name, pair in pairs.items()}
    return labelled(tabulate("Transfer", about, columns))
