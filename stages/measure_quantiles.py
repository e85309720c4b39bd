"""Measure whether the first word of each feature holds below its maximum: the score of the word by quantile of the activation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.activations.parts import PARTS
from falcon_dvc.activations.stored import SparseMapsFile, open_rows
from falcon_dvc.artifacts.formats import read_array, read_table, write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.concepts.scoring.corpus import read_corpus
from falcon_dvc.concepts.words.listing import listed_words
from falcon_dvc.crops.heatmaps import Boxes, CropRule, Heatmaps, crop_boxes, group_heatmaps
from falcon_dvc.evaluation.class_truth import KIND, LEAST_CLASSES, words_of_classes
from falcon_dvc.evaluation.frequency import distribution, frequencies
from falcon_dvc.evaluation.ground_truth import attributes_of, names_of_attributes
from falcon_dvc.evaluation.quantile_table import (
    Activated,
    Labels,
    Quantiles,
    measure_quantiles,
    quantile_metrics,
    with_frequency,
)
from falcon_dvc.evaluation.whole_images import image_scores
from falcon_dvc.members import membership

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params

WORDS = {"first_word": "", "permuted_words": ", permuted words"}  # bars of the plot for each part


def run(params: Params, name: str) -> StageSummary:
    """Write how the first word of each feature of the encoder `name` scores by part of its activation, with examples."""
    images, groups = read_table(paths.IMAGES), read_table(paths.groups(name) / "groups.parquet")
    single = groups[groups["size"] == 1].reset_index(drop=True)
    probe, heldout = (np.flatnonzero(images["split"] == split) for split in ("probe", "test"))
    rows = heldout if len(heldout) else probe
    activations = open_rows(paths.groups(name) / "activations", len(images), paths.IMAGES)
    activated = Activated(activations, rows, single["members"].to_numpy(dtype=int))
    found = _measured(params, name, single, activated, images)
    frequency = frequencies(activations, probe)
    table = with_frequency(found.table, single, frequency[activated.columns])
    write_table(paths.table(f"{name}_quantiles"), table)
    write_table(paths.quantiles(name), _examples(params, name, single, rows, found))
    write_table(paths.plot(f"{name}_frequency"), _distribution(frequency, len(probe)))
    _write_metrics(params, name, table, frequency, held_out=len(heldout) > 0)
    return StageSummary(
        read={"features": len(single), "held-out images" if len(heldout) else "probe images": len(rows)},
        lacking=[] if len(heldout) else ["no image is held out, so the images that chose the words also measure them"],
        wrote={f"rows to {paths.table(f'{name}_quantiles')}": len(table)},
    )


def _measured(params: Params, name: str, single: pd.DataFrame, activated: Activated, images: pd.DataFrame) -> Quantiles:
    """Measure the first words on the images that count."""
    settings, corpus = params.measure_quantiles, read_corpus()
    listed = listed_words(read_table(paths.concepts(name) / "concepts.parquet"))
    features = single[["group"]].assign(words=[listed.get(group, []) for group in single["group"]])
    scores = image_scores(corpus)[activated.rows].tocsc()
    labels = _labels(params, images.iloc[activated.rows])
    return measure_quantiles(features, activated, scores, corpus.vocabulary, labels, settings.confidence, settings.seed)


def _write_metrics(params: Params, name: str, table: pd.DataFrame, frequency: np.ndarray, held_out: bool) -> None:
    """Write the medians over features, and those that the plot shows."""
    fires = frequency[frequency > 0]
    often = {"median_frequency": float(np.median(fires))} if len(fires) else {}
    metrics = quantile_metrics(table, params.measure_quantiles)
    write_table(paths.plot(f"{name}_quantiles"), _bars(metrics))
    write_json(paths.metrics(f"quantiles_{name}"), {"held_out": int(held_out), **often, **metrics})


def _labels(params: Params, images: pd.DataFrame) -> Labels | None:
    """Read what the images show: attributes of synthetic images, or classes; None if nothing is known."""
    if params.worlds:
        folder = params.data.images
        names = names_of_attributes(read_table(f"{folder}/lexicon.parquet"))
        return Labels(np.ones(len(images), dtype=bool), attributes_of(images["image"], folder), names)
    labels = images["label"].to_numpy()
    classes = sorted(set(labels) - {""})
    if len(classes) < LEAST_CLASSES:
        return None
    known = labels != ""
    named = {(KIND, label): words for label, words in words_of_classes(classes, params).items()}
    return Labels(known, pd.DataFrame({(KIND, label): labels[known] == label for label in classes}), named)


def _examples(params: Params, name: str, single: pd.DataFrame, rows: np.ndarray, found: Quantiles) -> pd.DataFrame:
    """List the example images of each part with their activations, and boxes where stored maps locate the feature.

    Parameters
    ----------
    rows : images that count.
    """
    parts = [_examples_of(part, places, found.activations[part], single) for part, places in found.examples.items()]
    table = pd.concat(parts, ignore_index=True)
    row = rows[table.pop("place").to_numpy()]
    box = _boxes(params, name, row, single["members"].iloc[table.pop("feature")])
    sides = {side: box[:, place] for place, side in enumerate(("left", "top", "right", "bottom"))}
    return table.assign(image=read_table(paths.IMAGES)["image"].to_numpy()[row], **sides)


def _examples_of(part: str, places: np.ndarray, activations: np.ndarray, single: pd.DataFrame) -> pd.DataFrame:
    feature, rank = np.nonzero(places >= 0)
    place, activation = places[feature, rank], activations[feature, rank]
    group = single["group"].to_numpy()[feature]
    return pd.DataFrame(
        {"group": group, "part": part, "rank": rank, "activation": activation, "place": place, "feature": feature}
    )


def _boxes(params: Params, name: str, rows: np.ndarray, members: pd.Series) -> Boxes:
    """Find the box of a feature in each image; the whole image if there are no maps, since gradients would take too long."""
    images, settings = read_table(paths.IMAGES), params.mine_crops
    height, width = (images[side].to_numpy()[rows] for side in ("height", "width"))
    heatmaps = _heatmaps(paths.activations(name), rows, members)
    if heatmaps is None:
        return np.column_stack([np.zeros_like(width), np.zeros_like(height), width, height])
    rule = CropRule(settings.crop, settings.threshold, settings.margin, settings.min_size)
    fields = read_array(paths.activations(name) / "fields.npy")
    return crop_boxes(heatmaps, fields[rows], (height, width), rule)


def _heatmaps(folder: Path, rows: np.ndarray, members: pd.Series) -> Heatmaps | None:
    """Compute heatmaps from stored maps, dense or sparse; None if there are none."""
    which = membership(members, open_rows(folder / "features").shape[1])
    if (folder / "maps").is_dir():
        return SparseMapsFile(folder / "maps").group_heatmaps(rows, which)
    dense = folder / "maps.npy"
    return group_heatmaps(read_array(dense), rows, which) if dense.exists() else None


def _distribution(frequency: np.ndarray, images: int) -> pd.DataFrame:
    """List the bins of the frequencies for the plot."""
    edges, counts = distribution(frequency, images)
    return pd.DataFrame({"log10_frequency": edges[:-1], "to": edges[1:], "features": counts})


def _bars(metrics: dict) -> pd.DataFrame:
    """List the median scores of the parts for the plot, of own words and of those of other features."""
    medians = [
        (part.replace("_", " ") + suffix, metrics[part][key]["score"])
        for part in PARTS
        for key, suffix in WORDS.items()
    ]
    ends = ("interval_low", "interval_high")
    rows = [(text, *(some[key] for key in ("median", *ends))) for text, some in medians if some]
    return pd.DataFrame(rows, columns=["images", "score", *ends])
