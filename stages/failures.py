"""Explain why a classifier fails: the features to blame, their concepts, and a repair by switching them off (claim C4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table, write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.concepts.words.listing import first_concepts
from falcon_dvc.errors import UserError
from falcon_dvc.evaluation.statistics import mean_with_interval
from falcon_dvc.failures.blame import (
    class_references,
    logits,
)
from falcon_dvc.failures.classified import Classified
from falcon_dvc.failures.classifiers import read_classifier, read_features
from falcon_dvc.failures.clusters import cluster_table, concepts_of_features, failure_table
from falcon_dvc.failures.repairs import REPAIRS, repair_metrics, repair_plot, repair_table
from falcon_dvc.failures.shortcut import shortcut_metrics
from falcon_dvc.models.encoders.classifiers import LinearClassifier

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Failures, Params


FAILURES = ["image", "right", "wrong", "cluster", "concept", "silent", "features", "blame_share"]
CLUSTERS = ["cluster", "right", "wrong", "images", "sentence", "concept", "silent", "features"]
CLUSTERS += ["blame_share", "blame_interval_low", "blame_interval_high", "group", "group_concept", "examples"]

REPAIRS += [f"{when}{end}" for when in ("before", "after", "gain") for end in ("", "_interval_low", "_interval_high")]


def run(params: Params, name: str) -> StageSummary:
    """Write the failures of the encoder `name` with causes, clusters, repairs and metrics.

    Raises
    ------
    UserError
        If the encoder has no classifier, or features and classifier do not fit.
    """
    settings = params.failures
    images, unnamed = _classified(name, _classifier(params, name))
    first = first_concepts(read_table(paths.concepts(name) / "concepts.parquet"))
    concepts = concepts_of_features(first, images.features.shape[1])
    measured = "test" if len(images.rows("test")) else "probe"
    rows = images.rows(measured, wrong=True)
    blamed = images.blamed(rows, settings.reference)
    names = np.array(images.classifier.names, dtype=object)
    failures = failure_table(
        images.image[rows], names[images.right[rows]], names[images.predicted[rows]], blamed, concepts
    )
    groups = read_table(paths.groups(name) / "groups.parquet")
    clusters = cluster_table(failures, blamed, concepts, groups, first, settings)
    repairs = repair_table(params, images, concepts)
    write_table(paths.FAILURES / f"{name}.parquet", failures[FAILURES])
    write_table(paths.table(f"{name}_failures"), clusters[CLUSTERS])
    write_table(paths.table(f"{name}_repairs"), repairs)
    write_table(paths.plot(f"{name}_repairs"), repair_plot(repairs))
    counts = {
        "images": len(images.rows(measured)),
        "held_out": int(measured == "test"),
        "label_names_no_class": unnamed,
    }
    metrics = _metrics(images, measured, failures, clusters, settings)
    planted = shortcut_metrics(params, images, rows, blamed, concepts) if params.worlds else {}
    summary = StageSummary(
        read={"images": len(images.image) + unnamed},
        dropped={"images": {f"with a label that names no class of encoders.{name}": unnamed}},
        noted={"wrongly classified images": len(failures)},
        wrote={f"rows to {paths.FAILURES / f'{name}.parquet'}": len(failures), "clusters": len(clusters)},
    )
    write_json(
        paths.metrics(f"failures_{name}"),
        {**counts, **metrics, **planted, **repair_metrics(repairs), **summary.metrics},
    )
    return summary


def _classifier(params: Params, name: str) -> LinearClassifier:
    classifier = read_classifier(params, name)
    if classifier is None:
        raise UserError(
            f"params.yaml: failures.encoders: '{name}' has no classifier; list it in fit_probe.encoders too"
        )
    return classifier


def _classified(name: str, classifier: LinearClassifier) -> tuple[Classified, int]:
    """Classify the images whose label names a class, and count the others."""
    table = read_table(paths.IMAGES)
    features = read_features(name, len(table), classifier.weights.shape[1])
    right = _classes(table["label"], classifier)
    rows = np.flatnonzero(right >= 0)
    labelled, right = np.asarray(features[rows]), right[rows]
    predicted = logits(labelled, classifier.weights, classifier.bias).argmax(axis=1)
    image, split = (table[column].to_numpy()[rows] for column in ("image", "split"))
    probe = np.flatnonzero(split == "probe")
    references = class_references(labelled[probe], right[probe], predicted[probe], len(classifier.names))
    return Classified(classifier, image, split, labelled, right, predicted, references), len(table) - len(rows)


def _classes(labels: pd.Series, classifier: LinearClassifier) -> np.ndarray:
    """Find the class that each label names, by its id or by its name in any case; -1 if none."""
    number = {name.casefold(): place for place, name in enumerate(classifier.names)}
    number |= {key.casefold(): place for place, key in enumerate(classifier.ids)}
    return labels.fillna("").astype(str).str.casefold().map(number).fillna(-1).to_numpy(dtype=int)


def _metrics(
    images: Classified, split: str, failures: pd.DataFrame, clusters: pd.DataFrame, settings: Failures
) -> dict[str, Any]:
    """Compute how often the classifier fails, and which share of the failures has a word."""
    rows = images.rows(split)
    measured = {
        "accuracy": (images.right == images.predicted)[rows],
        "first_named_is_a_word": ~failures["concept"].str.fullmatch(r"feature \d+|").to_numpy(dtype=bool),
        "blame_of_first_named": failures["blame_share"].to_numpy(),
    }
    shares = {key: mean_with_interval(values, settings) for key, values in measured.items() if len(values)}
    return {"failures": len(failures), "clusters": len(clusters), **shares}
