"""What switching blamed features off does to the accuracy."""

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
from falcon_dvc.failures.clusters import Carried
from falcon_dvc.members import as_text

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Failures, Params


REPAIRS = ["right", "wrong", "failures", "switched_off", "features", "words", "accuracy_of", "images"]

CONCEPTS, RANDOM = (
    "blamed concepts",
    "random features",
)  # of the choices of a repair, the one to compare and the control
PLOTTED = ["classifier", "accuracy", "interval_low", "interval_high"]


def repair_table(params: Params, images: Classified, carried: Carried) -> pd.DataFrame:
    """Accuracies on held-out images with features switched off that are blamed for failures on probe images."""
    pairs = _pairs(params, images) if len(images.rows("test")) else []
    rows = [row for pair in pairs for row in _repair(params.failures, images, carried, *pair)]
    return pd.DataFrame(rows, columns=REPAIRS)


def _pairs(params: Params, images: Classified) -> list[tuple[int, int]]:
    """The largest confusions (right, wrong) of the probe images and those that were planted, if held-out images can show them."""
    rows = images.rows("probe", wrong=True)
    count = pd.DataFrame({"right": images.right[rows], "wrong": images.found[rows]}).value_counts(sort=False)
    pairs = list(count.sort_values(ascending=False, kind="stable").index[: params.failures.pairs])
    planted = params.render_scenes.shortcut
    number = {name: place for place, name in enumerate(images.classifier.names)}
    both = number.get(planted.object), number.get(planted.lookalike)
    extra = [pair for pair in (both, both[::-1]) if params.worlds and pair in count.index]
    heldout = set(images.right[images.rows("test")])
    return [pair for pair in dict.fromkeys([*pairs, *extra]) if pair[0] in heldout]


def _repair(
    settings: Failures, images: Classified, carried: Carried, right: int, wrong: int
) -> Iterator[dict[str, Any]]:
    """Rows of one confusion: what is switched off, and what that does to its two classes and to all images."""
    failed = images.rows("probe", wrong=True)
    failed = failed[(images.right[failed] == right) & (images.found[failed] == wrong)]
    average = images.blamed(failed, settings.reference).contributions.mean(axis=0)
    before, places = _hits(images, failed[:0]), _places(images, right, wrong)
    names = {key: images.classifier.names[place] for key, place in (("right", right), ("wrong", wrong))}
    for kind, draws in _choices(average, carried, settings, [right, wrong]).items():
        after = np.mean([_hits(images, features) for features in draws], axis=0)
        off = _described(draws[0], carried) if kind != RANDOM else {"features": "", "words": ""}
        for place, some in places.items():
            common = {**names, "failures": len(failed), "switched_off": kind, **off, "accuracy_of": place}
            yield common | _compared(before[some], after[some], settings)


def _choices(average: np.ndarray, carried: Carried, settings: Failures, seed: list[int]) -> dict[str, list[np.ndarray]]:
    """Features to switch off, by how they are chosen; as many random ones are the control, drawn several times."""
    concepts = by_concept(average, carried.concept, settings.features)
    generator = np.random.default_rng([settings.seed, *seed])
    return {
        CONCEPTS: [concepts],
        "first concept": [concepts[carried.concept[concepts] == carried.concept[concepts[:1]]]],
        "blamed features": [by_feature(average, settings.features)],
        RANDOM: [generator.choice(len(average), len(concepts), replace=False) for _ in range(settings.controls)],
    }


def _described(features: np.ndarray, carried: Carried) -> dict[str, str]:
    """Numbers and words of the features that are switched off."""
    words = dict.fromkeys(str(label) for label in carried.labels[carried.concept[features]])
    return {"features": as_text(features), "words": "; ".join(words)}


def _hits(images: Classified, features: np.ndarray) -> np.ndarray:
    """Whether each held-out image is classified rightly with some features switched off."""
    test, classifier = images.rows("test"), images.classifier
    repaired = switched_off(classifier.weights, classifier.bias, features, images.references)
    return (logits(images.features[test], *repaired).argmax(axis=1) == images.right[test]).astype(float)


def _places(images: Classified, right: int, wrong: int) -> dict[str, np.ndarray]:
    """Which of the held-out images are of either class."""
    classes = images.right[images.rows("test")]
    every = np.ones(len(classes), dtype=bool)
    return {"right class": classes == right, "wrong class": classes == wrong, "all images": every}


def _compared(before: np.ndarray, after: np.ndarray, settings: Failures) -> dict[str, float]:
    """Accuracies before and after, and the gain on the same images, each with its interval."""
    numbers: dict[str, float] = {"images": len(before)}
    for when, values in (("before", before), ("after", after), ("gain", after - before)):
        share = mean_with_interval(values, settings)
        numbers |= {f"{when}_{key}".removesuffix("_share"): value for key, value in share.items()}
    return numbers


def repair_metrics(repairs: pd.DataFrame) -> dict[str, Any]:
    """Metrics of each confusion: before, after, and the gain; for concepts plainly, for the others with their name."""
    found: dict[str, Any] = {}
    for row in repairs[repairs["images"] > 0].to_dict("records"):
        pair = found.setdefault(_slug(f"{row['right']} called {row['wrong']}"), {"failures": row["failures"]})
        main, place = row["switched_off"] == CONCEPTS, _slug(row["accuracy_of"])
        if main:
            pair |= {"features": len(row["features"].split()), f"{place}_before": _measured(row, "before")}
        suffix = "" if main else f"_{_slug(row['switched_off'])}"
        pair |= {f"{place}_{when}{suffix}": _measured(row, when) for when in ("after", "gain")}
    return {"repair": found} if found else {}


def _measured(row: dict, when: str) -> dict[str, float]:
    return {
        "share": row[when],
        "interval_low": row[f"{when}_interval_low"],
        "interval_high": row[f"{when}_interval_high"],
    }


def _slug(text: str) -> str:
    """A key of a metrics file."""
    return re.sub(r"\W+", "_", text.lower()).strip("_")


def repair_plot(repairs: pd.DataFrame) -> pd.DataFrame:
    """Plot data: accuracy on the failed class as trained, and with features switched off."""
    of_class = repairs[repairs["accuracy_of"] == "right class"]
    pair = of_class["right"] + " called " + of_class["wrong"]
    plain = of_class.assign(classifier=pair + ", as trained").drop_duplicates("classifier")
    repaired = of_class.assign(classifier=pair + ", without " + of_class["switched_off"])
    parts = [
        some[["classifier", when, f"{when}_interval_low", f"{when}_interval_high"]].set_axis(PLOTTED, axis=1)
        for some, when in ((plain, "before"), (repaired, "after"))
    ]
    return pd.concat(parts).sort_values("classifier", kind="stable", ignore_index=True)
