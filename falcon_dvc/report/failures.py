"""Failures of the encoders' classifiers: sentences with pictures, and what repairs them; collected from their tables."""

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

EXAMPLES = 8  # failing images of a cluster, at most
SHOWN = 12  # clusters of an encoder, the largest; the table holds all of them
MAIN, CONTROL = "blamed concepts", "random features"  # of what a repair switches off
PLACES = ("right class", "wrong class", "all images")


@dataclass(frozen=True)
class Cluster:
    """Failures with one cause: their sentence, the features of the first-named concept, and its share of the blame."""

    right: str
    wrong: str
    sentence: str
    features: list[int]
    share: Measurement
    examples: list[str]


@dataclass(frozen=True)
class Switched:
    """Accuracies after some features were switched off: on the right class, on the wrong one, on all images."""

    what: str
    features: int
    after: list[Measurement | None]


@dataclass(frozen=True)
class Repair:
    """One confusion: accuracies as trained, and with several choices of features switched off."""

    right: str
    wrong: str
    failures: int
    words: str
    verdict: str
    before: list[Measurement | None]
    choices: list[Switched]


@dataclass(frozen=True)
class Failures:
    """What is shown of one encoder's failures; without clusters if no label names a class, or none fails.

    Attributes
    ----------
    tiles : pictures of the clusters' examples: `EXAMPLES` for each cluster, transparent ones where it has fewer.
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


def collect_failures(params: Any, images: pd.DataFrame, source: ImageSource) -> dict[str, Failures]:
    """Failures of the encoders in ``failures.encoders``, with their pictures.

    Parameters
    ----------
    params : mirrors params.yaml; used are ``failures`` and ``report.thumbnail``.
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
    """The largest clusters and all repairs of one encoder."""
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
    """One cluster."""
    share = Measurement(row["blame_share"], row["blame_interval_low"], row["blame_interval_high"])
    features = [int(number) for number in str(row["features"]).split()]
    examples = json.loads(row["examples"])[:EXAMPLES]
    return Cluster(str(row["right"]), str(row["wrong"]), str(row["sentence"]), features, share, examples)


def _tiles(clusters: list[Cluster], rows: pd.Series, source: ImageSource, size: int) -> list[Tile]:
    """Whole pictures of the examples, a row of `EXAMPLES` for each cluster."""
    images = [image for cluster in clusters for image in cluster.examples]
    drawn = for_each_image(
        source, [int(rows[image]) for image in images], lambda image, _: tile(whole_image(image, size), size)
    )
    waiting = iter(drawn)
    nothing = np.zeros((size, size, 4), dtype=np.uint8)
    return [
        next(waiting) if place < len(cluster.examples) else nothing for cluster in clusters for place in range(EXAMPLES)
    ]


def _repairs(table: pd.DataFrame) -> list[Repair]:
    """Repairs in the order of the table: the largest confusion first."""
    texts = ["right", "wrong", "switched_off", "features", "words", "accuracy_of"]
    numbers = table.columns.difference(texts)
    table = table.assign(
        **{column: table[column].astype(str) for column in texts},
        **{column: pd.to_numeric(table[column], errors="coerce") for column in numbers},
    )
    return [_repair(some) for _, some in table.groupby(["right", "wrong"], sort=False)]


def _repair(rows: pd.DataFrame) -> Repair:
    """One confusion."""
    by_choice = {what: some.set_index("accuracy_of") for what, some in rows.groupby("switched_off", sort=False)}
    main = by_choice[MAIN]
    first = rows.iloc[0]
    features = {what: len(some["features"].iloc[0].split()) for what, some in by_choice.items()}
    features[CONTROL] = features[MAIN]
    return Repair(
        right=first["right"],
        wrong=first["wrong"],
        failures=int(first["failures"]),
        words=main["words"].iloc[0],
        verdict=verdict(main, by_choice[CONTROL]),
        before=[_measured(main, place, "before") for place in PLACES],
        choices=[
            Switched(str(what), features[what], [_measured(some, place, "after") for place in PLACES])
            for what, some in by_choice.items()
        ],
    )


def _measured(rows: pd.DataFrame, place: str, when: str) -> Measurement | None:
    """A number of a repair with its interval; None where no held-out image could show it."""
    value, low, high = (float(rows.loc[place, f"{when}{end}"]) for end in ("", "_interval_low", "_interval_high"))
    return None if np.isnan(value) else Measurement(value, low, high)


def verdict(main: pd.DataFrame, control: pd.DataFrame) -> str:
    """Whether a repair works: ``repaired``, ``at a cost`` (another accuracy falls), or ``not repaired``.

    It works if the gain on the failed class lies above 0 and above what random features gain; with their intervals.

    Parameters
    ----------
    main, control : rows of the table of repairs by ``accuracy_of``: blamed concepts, and random features.
    """
    if not main.loc["right class", "gain_interval_low"] > max(0, control.loc["right class", "gain_interval_high"]):
        return "not repaired"
    return "at a cost" if (main.loc[list(PLACES[1:]), "gain_interval_high"] < 0).any() else "repaired"
