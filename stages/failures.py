"""Why a classifier fails: the features to blame, what they carry, and what switching them off does (claim C4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table, write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.concepts.words.listing import first_concepts
from falcon_dvc.errors import UserError
from falcon_dvc.evaluation.ground_truth import names_of_attributes
from falcon_dvc.failures.blame import (
    Blame,
    blame,
    by_concept,
    by_feature,
    class_references,
    concept_blame,
    first_named,
    logits,
    shuffled,
    switched_off,
)
from falcon_dvc.failures.clusters import Carried, carried_concepts, cluster_table, failure_table, interval_of_mean
from falcon_dvc.models.encoders.load import LinearClassifier, linear_classifier
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Failures, Params, Shortcut

FAILURES = ["image", "right", "wrong", "cluster", "concept", "silent", "features", "blame_share"]
CLUSTERS = ["cluster", "right", "wrong", "images", "sentence", "concept", "silent", "features"]
CLUSTERS += ["blame_share", "blame_interval_low", "blame_interval_high", "group", "group_concept", "examples"]
REPAIRS = ["right", "wrong", "failures", "switched_off", "features", "words", "accuracy_of", "images"]
REPAIRS += [f"{when}{end}" for when in ("before", "after", "gain") for end in ("", "_interval_low", "_interval_high")]
CONCEPTS, RANDOM = (
    "blamed concepts",
    "random features",
)  # of the choices of a repair, the one to compare and the control
PLOTTED = ["classifier", "accuracy", "interval_low", "interval_high"]


@dataclass(frozen=True)
class Classified:
    """Images whose label names a class, what the classifier makes of them, and what it looks at where it is right."""

    classifier: LinearClassifier
    image: np.ndarray
    split: np.ndarray
    features: np.ndarray
    right: np.ndarray
    found: np.ndarray
    references: np.ndarray

    def rows(self, split: str, wrong: bool = False) -> np.ndarray:
        """Rows of a split; of its failures only, if so wanted."""
        return np.flatnonzero((self.split == split) & ((self.right != self.found) | (not wrong)))

    def blamed(self, rows: np.ndarray, reference: str) -> Blame:
        """Blame of failures against images of their class that are right, or against all probe images."""
        right, wrong, features = self.right[rows], self.found[rows], self.features[rows].astype(np.float64)
        against = self.references[right] if reference == "right" else self._probe_mean
        return blame(features, self.classifier.weights, right, wrong, against)

    @cached_property
    def _probe_mean(self) -> np.ndarray:
        probe = self.rows("probe")
        return self.features[probe].sum(axis=0, dtype=np.float64) / max(len(probe), 1)


def run(params: Params, name: str) -> StageSummary:
    """Write the failures of the encoder `name` with their causes, the clusters they form, repairs, and metrics.

    Raises
    ------
    UserError
        If the encoder has no classifier, or features and classifier do not fit.
    """
    settings = params.failures
    images, unnamed = _classified(name, _classifier(params, name))
    first = first_concepts(read_table(paths.concepts(name) / "concepts.parquet"))
    carried = carried_concepts(first, images.features.shape[1])
    measured = "test" if len(images.rows("test")) else "probe"
    rows = images.rows(measured, wrong=True)
    blamed = images.blamed(rows, settings.reference)
    names = np.array(images.classifier.names, dtype=object)
    failures = failure_table(images.image[rows], names[images.right[rows]], names[images.found[rows]], blamed, carried)
    groups = read_table(paths.groups(name) / "groups.parquet")
    clusters = cluster_table(failures, blamed, carried, groups, first, settings)
    repairs = _repairs(params, images, carried)
    write_table(paths.FAILURES / f"{name}.parquet", failures[FAILURES])
    write_table(paths.table(f"{name}_failures"), clusters[CLUSTERS])
    write_table(paths.table(f"{name}_repairs"), repairs)
    write_table(paths.plot(f"{name}_repairs"), _plotted(repairs))
    counts = {
        "images": len(images.rows(measured)),
        "held_out": int(measured == "test"),
        "label_names_no_class": unnamed,
    }
    found = _metrics(images, measured, failures, clusters, settings)
    planted = _shortcut(params, images, rows, blamed, carried) if params.worlds else {}
    summary = StageSummary(
        read={"images": len(images.image) + unnamed},
        dropped={"images": {"whose label names no class": unnamed}},
        noted={"images that are classified wrongly": len(failures)},
        wrote={f"rows to {paths.FAILURES / f'{name}.parquet'}": len(failures), "clusters of them": len(clusters)},
    )
    write_json(
        paths.metrics(f"failures_{name}"), {**counts, **found, **planted, **_of_repairs(repairs), **summary.metrics}
    )
    return summary


def _classifier(params: Params, name: str) -> LinearClassifier:
    classifier = linear_classifier(params.encoders[name], f"encoders.{name}")
    if classifier is None:
        raise UserError(f"params.yaml: failures.encoders: '{name}' has no classifier; list only encoders that have one")
    return classifier


def _classified(name: str, classifier: LinearClassifier) -> tuple[Classified, int]:
    """Classify the images whose label names a class; count the others."""
    table, path = read_table(paths.IMAGES), paths.activations(name) / "features.npy"
    features = read_array(path)
    if features.shape != (len(table), classifier.weights.shape[1]):
        raise UserError(
            f"{path}: shape {features.shape} does not fit {len(table)} images and a classifier of "
            f"{classifier.weights.shape[1]} features; run `dvc repro -f extract_activations@{name}`"
        )
    right = _classes(table["label"], classifier)
    rows = np.flatnonzero(right >= 0)
    some, right = np.asarray(features[rows]), right[rows]
    found = logits(some, classifier.weights, classifier.bias).argmax(axis=1)
    image, split = (table[column].to_numpy()[rows] for column in ("image", "split"))
    probe = np.flatnonzero(split == "probe")
    references = class_references(some[probe], right[probe], found[probe], len(classifier.names))
    return Classified(classifier, image, split, some, right, found, references), len(table) - len(rows)


def _classes(labels: pd.Series, classifier: LinearClassifier) -> np.ndarray:
    """Class that each label names, by its id or by its name in any case; -1 for none."""
    number = {name.casefold(): place for place, name in enumerate(classifier.names)}
    number |= {key.casefold(): place for place, key in enumerate(classifier.ids)}
    return labels.fillna("").astype(str).str.casefold().map(number).fillna(-1).to_numpy(dtype=int)


def _metrics(
    images: Classified, split: str, failures: pd.DataFrame, clusters: pd.DataFrame, settings: Failures
) -> dict[str, Any]:
    """How often the classifier fails, and how far words account for it."""
    rows = images.rows(split)
    measured = {
        "accuracy": (images.right == images.found)[rows],
        "first_named_is_a_word": ~failures["concept"].str.fullmatch(r"feature \d+|").to_numpy(dtype=bool),
        "blame_of_first_named": failures["blame_share"].to_numpy(),
    }
    shares = {key: interval_of_mean(values, settings) for key, values in measured.items() if len(values)}
    return {"failures": len(failures), "clusters": len(clusters), **shares}


def _shortcut(params: Params, images: Classified, rows: np.ndarray, blamed: Blame, carried: Carried) -> dict[str, Any]:
    """Of the failures that the planted shortcut causes, the share whose first-named concept is the shortcut; by chance, and of others.

    ``any_background``: a word for any background. ``at_work``: the image's own background, or that it is not the planted one.
    """
    settings, planted = params.failures, params.render_scenes.shortcut
    table = read_table(f"{params.data.images}/attributes.parquet").set_index("image")
    background = table["background"].reindex(images.image[rows]).to_numpy()
    lost, taken = _planted(images, rows, background, planted)
    both = lost | taken
    if not both.any():
        return {"shortcut": {"failures": 0}}
    names = _background_names(carried.words, read_table(f"{params.data.images}/lexicon.parquet"))

    def judged(some: Blame) -> np.ndarray:
        first, silent, _ = first_named(*concept_blame(some, carried.concept))
        return _names_shortcut(first, silent, background, names, planted.background)

    anything, at_work = judged(blamed)
    chance_anything, chance_at_work = _by_chance(blamed, judged, settings)
    share = lambda hits, some: {"failures": int(some.sum()), **interval_of_mean(hits[some], settings)}  # noqa: E731
    return {
        "shortcut": {
            "any_background": share(anything, both),
            "any_background_by_chance": share(chance_anything, both),
            "at_work": share(at_work, both),
            "at_work_by_chance": share(chance_at_work, both),
            "at_work_object_elsewhere": share(at_work, lost),
            "at_work_lookalike_there": share(at_work, taken),
            "at_work_other_failures": share(at_work, ~both),
        }
    }


def _planted(
    images: Classified, rows: np.ndarray, background: np.ndarray, planted: Shortcut
) -> tuple[np.ndarray, np.ndarray]:
    """Failures of the planted object off its background, and look-alikes on it that are called the object."""
    right, wrong = (np.array(images.classifier.names)[classes[rows]] for classes in (images.right, images.found))
    there = background == planted.background
    return (right == planted.object) & ~there, (right == planted.lookalike) & there & (wrong == planted.object)


def _background_names(words: np.ndarray, lexicon: pd.DataFrame) -> list[set[str]]:
    """The backgrounds that the word of each concept names."""
    names = {value: some for (kind, value), some in names_of_attributes(lexicon).items() if kind == "background"}
    return [{value for value, some in names.items() if word in some} for word in words]


def _names_shortcut(
    first: np.ndarray, silent: np.ndarray, background: np.ndarray, names: list[set[str]], planted: str
) -> np.ndarray:
    """Whether the first-named concept of each failure is a background at all, and whether it is the one at work."""
    named = [names[concept] if concept >= 0 else set() for concept in first]
    at_work = [
        (planted in some and own != planted) if absent else own in some
        for some, absent, own in zip(named, silent, background, strict=True)
    ]
    return np.array([[len(some) > 0 for some in named], at_work], dtype=float)


def _by_chance(blamed: Blame, judged: Callable[[Blame], np.ndarray], settings: Failures) -> np.ndarray:
    """The same of each failure with its blame shuffled over the features, on average."""
    generator = np.random.default_rng(settings.seed)
    rounds = track(range(settings.permutations), "shuffled blame")
    return np.mean([judged(shuffled(blamed, generator)) for _ in rounds], axis=0)


def _repairs(params: Params, images: Classified, carried: Carried) -> pd.DataFrame:
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
    return {"features": " ".join(map(str, features)), "words": "; ".join(words)}


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
        share = interval_of_mean(values, settings)
        numbers |= {f"{when}_{key}".removesuffix("_share"): value for key, value in share.items()}
    return numbers


def _of_repairs(repairs: pd.DataFrame) -> dict[str, Any]:
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


def _plotted(repairs: pd.DataFrame) -> pd.DataFrame:
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
