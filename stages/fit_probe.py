"""Fit a linear probe on the labels of the probe images, so that the failures of an encoder without a classifier are explained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.activations.stored import open_rows
from falcon_dvc.artifacts.formats import read_table, write_json
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.errors import UserError
from falcon_dvc.evaluation.statistics import mean_with_interval
from falcon_dvc.failures.blame import logits
from falcon_dvc.failures.probes import fit_probe, save_probe

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params

LEAST_IMAGES = 3  # of a class: two that fit the probe, one that validates it


def run(params: Params, name: str) -> StageSummary:
    """Write the probe of the encoder `name`, and its accuracy on held-out images.

    Raises
    ------
    UserError
        If the images have too few labels.
    """
    settings, images = params.fit_probe, read_table(paths.IMAGES)
    features = (
        open_rows(paths.activations(name) / "features", len(images), paths.IMAGES).rows(slice(None)).astype(np.float64)
    )
    names = _names(images)
    number = pd.Index(names).get_indexer(images["label"])
    probe, heldout = (np.flatnonzero((images["split"] == split) & (number >= 0)) for split in ("probe", "test"))
    generator = np.random.default_rng(settings.seed)
    validation = _validation(number[probe], settings.validation, generator)
    fit = lambda classes: fit_probe(features[probe], classes, validation, settings.strengths, settings.iterations)  # noqa: E731
    weights, bias, strength = fit(number[probe])
    permuted = fit(_permuted(number[probe], validation, generator))
    right, by_chance = (
        logits(features[heldout], own, other).argmax(axis=1) == number[heldout]
        for own, other in ((weights, bias), permuted[:2])
    )
    save_probe(paths.probe(name), weights, bias, names)
    summary = StageSummary(
        read={"images": len(images)},
        dropped={"images": {f"of no class with {LEAST_IMAGES} probe images": len(images) - len(probe) - len(heldout)}},
        wrote={f"probe of {len(names)} classes to {paths.probe(name)}": 1},
    )
    measured = {
        "accuracy": mean_with_interval(right, settings),
        "permuted_labels": mean_with_interval(by_chance, settings),
        "most_frequent_class": mean_with_interval(number[heldout] == np.bincount(number[probe]).argmax(), settings),
    }
    counts = {"classes": len(names), "images": len(probe), "heldout_images": len(heldout), "strength": strength}
    write_json(paths.metrics(f"probe_{name}"), {**counts, **measured, **summary.metrics})
    return summary


def _names(images: pd.DataFrame) -> list[str]:
    """Return the classes with enough probe images."""
    labels = images.loc[(images["split"] == "probe") & (images["label"] != ""), "label"]
    count = labels.value_counts()
    names = sorted(count.index[count >= LEAST_IMAGES])
    if len(names) < 2:
        raise UserError(
            f"fit_probe.encoders: {len(names)} classes have {LEAST_IMAGES} or more labelled probe images, and at least 2 are needed; "
            "put the images of a class into a folder of its own, or leave the list empty"
        )
    return names


def _validation(classes: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """Draw a share of the images of each class, at least one, and leave two."""
    order = generator.permutation(len(classes))
    place = pd.Series(classes[order]).groupby(classes[order]).cumcount().to_numpy()
    count = np.bincount(classes)[classes[order]]
    return np.sort(order[place < np.clip(np.round(share * count), 1, count - 2)])


def _permuted(classes: np.ndarray, validation: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Permute the classes among the images that fit the probe, and among those that validate it."""
    classes, others = classes.copy(), np.setdiff1d(np.arange(len(classes)), validation)
    for rows in (others, validation):
        classes[rows] = classes[generator.permutation(rows)]
    return classes
