"""Measure the accuracy of a classifier with blamed features switched off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from falcon_dvc.evaluation.statistics import mean_with_interval
from falcon_dvc.failures.blame import (
    by_concept,
    by_feature,
    logits,
    switched_off,
)
from falcon_dvc.failures.classified import Classified
from falcon_dvc.failures.clusters import FeatureConcepts
from falcon_dvc.members import as_text

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Failures, Params


REPAIRS = ["right", "wrong", "failures", "switched_off", "features", "words", "accuracy_of", "images"]

CONCEPTS, RANDOM = (
    "blamed concepts",
    "random features",
)  # the choice of features that is compared, and its control
PLOTTED = ["classifier", "accuracy", "interval_low", "interval_high"]


def repair_table(params: Params, images: Classified, concepts: FeatureConcepts) -> pd.DataFrame:
    """Measure accuracies on held-out images with features switched off.

    The features are blamed for failures on probe images.
    """
    pairs = _pairs(params, images) if len(images.rows("test")) else []
    rows = [row for pair in pairs for row in _repair(params.failures, images, concepts, *pair)]
    return pd.DataFrame(rows, columns=REPAIRS)


def _pairs(params: Params, images: Classified) -> list[tuple[int, int]]:
    """Find the largest confusions (right, wrong) of the probe images, and the planted ones.

    A confusion without held-out images of the right class is left out.
    """
    rows = images.rows("probe", wrong=True)
    count = pd.DataFrame({"right": images.right[rows], "wrong": images.predicted[rows]}).value_counts(sort=False)
    pairs = list(count.sort_values(ascending=False, kind="stable").index[: params.failures.pairs])
    planted = params.render_scenes.shortcut
    number = {name: place for place, name in enumerate(images.classifier.names)}
    both = number.get(planted.object), number.get(planted.lookalike)
    extra = [pair for pair in (both, both[::-1]) if params.worlds and pair in count.index]
    heldout = set(images.right[images.rows("test")])
    return [pair for pair in dict.fromkeys([*pairs, *extra]) if pair[0] in heldout]


def _repair(
    settings: Failures, images: Classified, concepts: FeatureConcepts, right: int, wrong: int
) -> Iterator[dict[str, Any]]:
    """Yield the rows of one confusion: the features switched off, and the effect on its two classes and on all images."""
    failed = images.rows("probe", wrong=True)
    failed = failed[(images.right[failed] == right) & (images.predicted[failed] == wrong)]
    average = images.blamed(failed, settings.reference).contributions.mean(axis=0)
    before, places = _hits(images, failed[:0]), _places(images, right, wrong)
    names = {key: images.classifier.names[place] for key, place in (("right", right), ("wrong", wrong))}
    for kind, draws in _choices(average, concepts, settings, [right, wrong]).items():
        after = np.mean([_hits(images, features) for features in draws], axis=0)
        off = _described(draws[0], concepts) if kind != RANDOM else {"features": "", "words": ""}
        for place, rows in places.items():
            common = {**names, "failures": len(failed), "switched_off": kind, **off, "accuracy_of": place}
            yield common | _compared(before[rows], after[rows], settings)


def _choices(
    average: np.ndarray, concepts: FeatureConcepts, settings: Failures, seed: list[int]
) -> dict[str, list[np.ndarray]]:
    """Choose the features to switch off, by each method.

    The control is as many random features, drawn several times.
    """
    blamed = by_concept(average, concepts.concept, settings.features)
    generator = np.random.default_rng([settings.seed, *seed])
    return {
        CONCEPTS: [blamed],
        "first concept": [blamed[concepts.concept[blamed] == concepts.concept[blamed[:1]]]],
        "blamed features": [by_feature(average, settings.features)],
        RANDOM: [generator.choice(len(average), len(blamed), replace=False) for _ in range(settings.controls)],
    }


def _described(features: np.ndarray, concepts: FeatureConcepts) -> dict[str, str]:
    """Return the numbers and words of the features that are switched off."""
    words = dict.fromkeys(str(label) for label in concepts.labels[concepts.concept[features]])
    return {"features": as_text(features), "words": "; ".join(words)}


def _hits(images: Classified, features: np.ndarray) -> np.ndarray:
    """Decide whether each held-out image is classified rightly with the features switched off."""
    test, classifier = images.rows("test"), images.classifier
    repaired = switched_off(classifier.weights, classifier.bias, features, images.references)
    return (logits(images.features[test], *repaired).argmax(axis=1) == images.right[test]).astype(float)


def _places(images: Classified, right: int, wrong: int) -> dict[str, np.ndarray]:
    """Find the held-out images of each of the two classes, and of all classes."""
    classes = images.right[images.rows("test")]
    every = np.ones(len(classes), dtype=bool)
    return {"right class": classes == right, "wrong class": classes == wrong, "all images": every}


def _compared(before: np.ndarray, after: np.ndarray, settings: Failures) -> dict[str, float]:
    """Compute the accuracies before and after, and the gain on the same images, each with its interval."""
    numbers: dict[str, float] = {"images": len(before)}
    for when, values in (("before", before), ("after", after), ("gain", after - before)):
        share = mean_with_interval(values, settings)
        numbers |= {f"{when}_{key}".removesuffix("_share"): value for key, value in share.items()}
    return numbers


def repair_metrics(repairs: pd.DataFrame) -> dict[str, Any]:
    """Compute the metrics of each confusion: accuracy before and after, and the gain.

    Keys of other methods than blamed concepts end with the name of the method.
    """
    repairs_of_pairs: dict[str, Any] = {}
    for row in repairs[repairs["images"] > 0].to_dict("records"):
        pair = repairs_of_pairs.setdefault(
            _slug(f"{row['right']} called {row['wrong']}"), {"failures": row["failures"]}
        )
        by_concepts, place = row["switched_off"] == CONCEPTS, _slug(row["accuracy_of"])
        if by_concepts:
            pair |= {"features": len(row["features"].split()), f"{place}_before": _measured(row, "before")}
        suffix = "" if by_concepts else f"_{_slug(row['switched_off'])}"
        pair |= {f"{place}_{when}{suffix}": _measured(row, when) for when in ("after", "gain")}
    return {"repair": repairs_of_pairs} if repairs_of_pairs else {}


def _measured(row: dict, when: str) -> dict[str, float]:
    return {
        "share": row[when],
        "interval_low": row[f"{when}_interval_low"],
        "interval_high": row[f"{when}_interval_high"],
    }


def _slug(text: str) -> str:
    """Turn text into a key of a metrics file."""
    return re.sub(r"\W+", "_", text.lower()).strip("_")


def repair_plot(repairs: pd.DataFrame) -> pd.DataFrame:
    """Compute plot data: accuracy on the failed class as trained, and with features switched off."""
    of_class = repairs[repairs["accuracy_of"] == "right class"]
    pair = of_class["right"] + " called " + of_class["wrong"]
    plain = of_class.assign(classifier=pair + ", as trained").drop_duplicates("classifier")
    repaired = of_class.assign(classifier=pair + ", without " + of_class["switched_off"])
    tables = [
        rows[["classifier", when, f"{when}_interval_low", f"{when}_interval_high"]].set_axis(PLOTTED, axis=1)
        for rows, when in ((plain, "before"), (repaired, "after"))
    ]
    return pd.concat(tables).sort_values("classifier", kind="stable", ignore_index=True)
