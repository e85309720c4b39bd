"""Explain the final-layer units of a classifier, whose right answer is known: the name of the class.

The vocabulary is the class names, for FALCON and for soft-WPMI on the same crops. An image-text encoder composed of
these very names (ConSE) has an easy task. The figures then measure the loss in the pipeline, not what a general
encoder would name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table, write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.compute.resume import Resumable, resumable
from falcon_dvc.concepts.retrieval.nearest import nearest_captions, retrieved_weights
from falcon_dvc.crops.localisation import Localisation
from falcon_dvc.errors import UserError
from falcon_dvc.evaluation.baselines import soft_wpmi
from falcon_dvc.evaluation.statistics import mean_with_interval
from falcon_dvc.evaluation.units import rank_of_own
from falcon_dvc.models.encoders.classifiers import LinearClassifier, linear_classifier

if TYPE_CHECKING:
    from falcon_dvc.params.schema import EvaluateUnits, Params


CROPS_AT_ONCE = 256  # crops whose dense activation maps are in memory
METHODS = ("falcon", "soft_wpmi", "soft_wpmi_tuned", "shuffled_units")


def run(params: Params, name: str) -> StageSummary:
    """Write the rank of each unit's own class name by every method, and the shares among the first and first five.

    Raises
    ------
    UserError
        If the encoder has no classifier.
    """
    settings = params.evaluate_units
    classifier = linear_classifier(params.encoders[name], f"encoders.{name}")
    if classifier is None:
        raise UserError(
            f"params.yaml: evaluate_units.encoders: '{name}' has no classifier; list only encoders that have one"
        )
    rows = _strongest_images(name, classifier, settings.images)
    with resumable(f"evaluate_units-{name}") as work:
        unit, row, boxes = _crops(params, name, classifier, rows, work)
        crops, names = _embedded(params, row, boxes, classifier, work)
    ranks = _ranks(params, crops, unit, names)
    table = _table(classifier, rows, ranks)
    write_table(paths.table(f"{name}_units"), table)
    write_json(paths.metrics(f"units_{name}"), _metrics(table, settings))
    return StageSummary(
        read={"units": len(table), "crops": len(row)},
        noted={"units whose strongest images show another class": int((~table["class_among_images"]).sum())},
        wrote={f"rows to {paths.table(f'{name}_units')}": len(table)},
    )


def _strongest_images(name: str, classifier: LinearClassifier, count: int) -> np.ndarray:
    """Find the rows of the images with the largest logit of each unit: (units, count)."""
    features = read_array(paths.activations(name) / "features.npy").astype(np.float64)
    logits = np.round(features @ classifier.weights.T.astype(np.float64) + classifier.bias, 9)
    return np.argsort(-logits, axis=0, kind="stable")[:count].T


def _crops(
    params: Params, name: str, classifier: LinearClassifier, rows: np.ndarray, work: Resumable
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crop each unit's strongest images where they raise its logit, at several thresholds of the heatmap."""
    unit, row = np.repeat(np.arange(len(rows)), rows.shape[1]), rows.reshape(-1)
    batches = [slice(start, start + CROPS_AT_ONCE) for start in range(0, len(row), CROPS_AT_ONCE)]
    located = Localisation(params, name, work)
    heatmaps = [located.of_directions(row[batch], classifier.weights[unit[batch]]) for batch in batches]
    boxes = [
        np.concatenate([located.boxes(row[batch], heat, at) for batch, heat in zip(batches, heatmaps, strict=True)])
        for at in params.evaluate_units.thresholds
    ]
    return np.tile(unit, len(boxes)), np.tile(row, len(boxes)), np.concatenate(boxes)


def _embedded(
    params: Params, rows: np.ndarray, boxes: np.ndarray, classifier: LinearClassifier, work: Resumable
) -> tuple[np.ndarray, np.ndarray]:
    """Compute unit embeddings of the crops and of the class names."""
    from falcon_dvc.compute.device import best_device
    from falcon_dvc.crops.embedding import embed_crops
    from falcon_dvc.models.image_text.load import load_image_text

    encoder = load_image_text(params.image_text, best_device(params.device))
    texts = [params.evaluate_units.template.replace("{}", name) for name in classifier.names]
    crops = embed_crops(params, encoder, rows, boxes, work)
    return crops, encoder.embed_texts(texts)


def _ranks(params: Params, crops: np.ndarray, unit: np.ndarray, names: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the rank, from 1, of each unit's own name by every method.

    The place of a crop among its unit's crops is its rank of activation.
    """
    units = len(names)
    place = pd.Series(unit).groupby(unit).cumcount().to_numpy()
    own = _falcon(params, crops, unit, names)
    elsewhere = np.random.default_rng(params.evaluate_units.seed).permutation(units)
    scores = {
        "falcon": own,
        "soft_wpmi": soft_wpmi(crops, unit, place, units, names, discount=1.0),
        "soft_wpmi_tuned": soft_wpmi(crops, unit, place, units, names, discount=0.5),
        "shuffled_units": own[elsewhere],
    }
    return {method: rank_of_own(np.round(score, 9)) for method, score in scores.items()}


def _falcon(params: Params, crops: np.ndarray, unit: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Compute Eq. 1 with the class names as captions: the mean over a unit's crops of p(name | crop).

    The value is 0 for a name that is not retrieved.
    """
    settings = params.concepts
    retrieved = nearest_captions(crops, [(np.arange(len(names)), names)], settings.captions_per_image)
    weights = retrieved_weights(retrieved, settings.temperature)
    total = np.zeros((len(names), len(names)))
    np.add.at(total, (unit[:, None], retrieved.captions), weights)
    return total / np.bincount(unit, minlength=len(names))[:, None]


def _table(classifier: LinearClassifier, rows: np.ndarray, ranks: dict[str, np.ndarray]) -> pd.DataFrame:
    """List the units by the id of their class, with their ranks.

    A column says whether the class is among the unit's strongest images.
    """
    labels = read_table(paths.IMAGES)["label"].to_numpy(dtype=str)
    shown = (labels[rows] == np.array(classifier.ids)[:, None]).any(axis=1)
    return pd.DataFrame(
        {
            "unit": classifier.ids,
            "name": classifier.names,
            "class_among_images": shown,
            **{f"rank_{method}": ranks[method] for method in METHODS},
        }
    )


def _metrics(table: pd.DataFrame, settings: EvaluateUnits) -> dict:
    """Compute shares over all units, and over units whose strongest images show their class."""
    tables = {"all_units": table, "units_whose_images_show_the_class": table[table["class_among_images"]]}
    return {
        name: {"units": len(table_of_units), **_by_method(table_of_units, settings)}
        for name, table_of_units in tables.items()
        if len(table_of_units)
    }


def _by_method(table: pd.DataFrame, settings: EvaluateUnits) -> dict:
    metrics: dict = {}
    for method in METHODS:
        ranks = table[f"rank_{method}"].to_numpy()
        metrics[method] = {f"top{reach}": mean_with_interval(ranks <= reach, settings) for reach in (1, 5)} | {
            "median_rank": float(np.median(ranks))
        }
    return metrics
