"""Collect what the report shows of the classifiers' failures: clusters with pictures, and repairs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json, read_table
from falcon_dvc.html.measurements import Measurement, at
from falcon_dvc.html.pictures import Tile, for_each_image, tile, whole_image
from falcon_dvc.images.source import ImageSource
from falcon_dvc.report.explained import Link

EXAMPLES = 8  # largest number of failing images of a cluster
SHOWN = 12  # the largest clusters of an encoder; the table contains all of them
MAIN, CONTROL = "blamed concepts", "random features"  # features that a repair switches off
PLACES = ("right class", "wrong class", "all images")


@dataclass(frozen=True)
class Cluster:
    """Failures with the same cause: a sentence, the features of its first concept, and the concept's share of the blame."""

    right: str
    wrong: str
    sentence: str
    features: list[int]
    share: Measurement
    examples: list[str]


@dataclass(frozen=True)
class Switched:
    """Accuracies after features were switched off: on the right class, on the wrong class, on all images."""

    what: str
    features: int
    after: list[Measurement | None]


@dataclass(frozen=True)
class Repair:
    """A confusion of two classes: accuracies as trained, and with different sets of features switched off.

    Attributes
    ----------
    words : the blamed concepts.
    members : the features that have them.
    """

    right: str
    wrong: str
    failures: int
    words: str
    members: list[int]
    verdict: str
    before: list[Measurement | None]
    choices: list[Switched]


@dataclass(frozen=True)
class Failures:
    """The failures of one encoder; there are no clusters if no label names a class, or no image fails.

    Attributes
    ----------
    tiles : pictures of the examples, `EXAMPLES` for each cluster; transparent where a cluster has fewer.
    """

    images: int
    held_out: bool
    unnamed: int
    failures: int
    accuracy: Measurement | None
    against: str
    clusters: list[Cluster]
    more: int
    repairs: list[Repair]
    tiles: list[Tile]


def some_clear(known: Mapping[str, Link], features: list[int]) -> bool:
    """Whether one of some features is explained, so that their words can be shown as sure; also if there are no features."""
    return not features or any(f"f{feature}" in known and known[f"f{feature}"].clear for feature in features)


def collect_failures(params: Any, images: pd.DataFrame, source: ImageSource) -> dict[str, Failures]:
    """Collect the failures of the encoders in ``failures.encoders``, with their pictures.

    Parameters
    ----------
    params : the params; used are ``failures`` and ``report.thumbnail``.
    images : ``data/images.parquet``.
    source : the images, by row.

    Raises
    ------
    UserError
        If a table is missing.
    """
    rows = pd.Series(np.arange(len(images)), index=images["image"])
    return {name: _of_encoder(name, params, rows, source) for name in params.failures.encoders}


def _of_encoder(name: str, params: Any, rows: pd.Series, source: ImageSource) -> Failures:
    """Collect the largest clusters and all repairs of one encoder."""
    metrics = read_json(paths.metrics(f"failures_{name}"))
    table = read_table(paths.table(f"{name}_failures"))
    clusters = [_cluster(row) for row in table.head(SHOWN).to_dict("records")]
    return Failures(
        images=metrics["images"],
        held_out=bool(metrics["held_out"]),
        unnamed=metrics["label_names_no_class"],
        failures=metrics["failures"],
        accuracy=at(metrics, "accuracy.share"),
        against=params.failures.reference,
        clusters=clusters,
        more=max(len(table) - SHOWN, 0),
        repairs=_repairs(read_table(paths.table(f"{name}_repairs"))),
        tiles=_tiles(clusters, rows, source, params.report.thumbnail),
    )


def _cluster(row: Mapping[Any, Any]) -> Cluster:
    """Read one cluster."""
    share = _over_images(row["images"], row["blame_share"], row["blame_interval_low"], row["blame_interval_high"])
    features = [int(number) for number in str(row["features"]).split()]
    examples = json.loads(row["examples"])[:EXAMPLES]
    return Cluster(str(row["right"]), str(row["wrong"]), str(row["sentence"]), features, share, examples)


def _over_images(images: float, value: float, low: float, high: float) -> Measurement:
    """Return a mean over images with its interval; a single image has none."""
    return Measurement(value, low, high) if images > 1 else Measurement(value)


def _tiles(clusters: list[Cluster], rows: pd.Series, source: ImageSource, size: int) -> list[Tile]:
    """Draw the whole images of the examples, a row of `EXAMPLES` for each cluster."""
    images = [image for cluster in clusters for image in cluster.examples]
    drawn = for_each_image(
        source, [int(rows[image]) for image in images], lambda image, _: tile(whole_image(image, size), size)
    )
    remaining = iter(drawn)
    empty = np.zeros((size, size, 4), dtype=np.uint8)
    return [
        next(remaining) if place < len(cluster.examples) else empty for cluster in clusters for place in range(EXAMPLES)
    ]


def _repairs(table: pd.DataFrame) -> list[Repair]:
    """Read the repairs in the order of the table, the largest confusion first."""
    texts = ["right", "wrong", "switched_off", "features", "words", "accuracy_of"]
    numbers = table.columns.difference(texts)
    table = table.assign(
        **{column: table[column].astype(str) for column in texts},
        **{column: pd.to_numeric(table[column], errors="coerce") for column in numbers},
    )
    return [_repair(rows) for _, rows in table.groupby(["right", "wrong"], sort=False)]


def _repair(rows: pd.DataFrame) -> Repair:
    """Read the repair of one confusion."""
    by_choice = {what: choice.set_index("accuracy_of") for what, choice in rows.groupby("switched_off", sort=False)}
    main = by_choice[MAIN]
    first = rows.iloc[0]
    features = {what: len(choice["features"].iloc[0].split()) for what, choice in by_choice.items()}
    features[CONTROL] = features[MAIN]
    return Repair(
        right=first["right"],
        wrong=first["wrong"],
        failures=int(first["failures"]),
        words=main["words"].iloc[0],
        members=[int(number) for number in main["features"].iloc[0].split()],
        verdict=verdict(main, by_choice[CONTROL]),
        before=[_measured(main, place, "before") for place in PLACES],
        choices=[
            Switched(str(what), features[what], [_measured(choice, place, "after") for place in PLACES])
            for what, choice in by_choice.items()
        ],
    )


def _measured(rows: pd.DataFrame, place: str, when: str) -> Measurement | None:
    """Read a number of a repair with its interval; None if there was no held-out image to measure it."""
    value, low, high = (float(rows.loc[place, f"{when}{end}"]) for end in ("", "_interval_low", "_interval_high"))
    return None if np.isnan(value) else _over_images(float(rows.loc[place, "images"]), value, low, high)


def verdict(main: pd.DataFrame, control: pd.DataFrame) -> str:
    """Rate a repair: ``repaired``, ``at a cost`` (another accuracy falls), or ``not repaired``.

    A repair works if the gain on the failed class is above 0 and above that of random features, with their intervals.

    Parameters
    ----------
    main, control : rows of the table of repairs by ``accuracy_of``: blamed concepts, and random features.
    """
    if not main.loc["right class", "gain_interval_low"] > max(0, control.loc["right class", "gain_interval_high"]):
        return "not repaired"
    return "at a cost" if (main.loc[list(PLACES[1:]), "gain_interval_high"] < 0).any() else "repaired"
