"""Crop each selected image to where its group fires, and embed the crops (steps 4 and 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from falcon_dvc import paths
from falcon_dvc.activations.stored import open_rows
from falcon_dvc.artifacts.formats import read_table, write_array, write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.compute.resume import resumable
from falcon_dvc.crops.boxes import boxes_by_role, crop_table
from falcon_dvc.crops.heatmaps import Heatmaps, as_bytes, empty
from falcon_dvc.crops.localisation import Localisation, image_sizes
from falcon_dvc.members import membership

if TYPE_CHECKING:
    from falcon_dvc.params.schema import MineCrops, Params


def run(params: Params, name: str) -> StageSummary:
    """Write ``crops.parquet``, ``heatmaps.npy`` and ``embeddings.npy`` of the encoder `name`, in the same rows.

    ``embeddings.json`` names the image-text encoder. The captions must be embedded by the same one.
    """
    from falcon_dvc.compute.device import best_device
    from falcon_dvc.crops.embedding import embeddings_of_crops
    from falcon_dvc.models.image_text.load import load_image_text

    settings, folder = params.mine_crops, paths.crops(name)
    sets = read_table(paths.groups(name) / "sets.parquet")
    rows = pd.Index(read_table(paths.IMAGES)["image"]).get_indexer(sets["image"])
    with resumable(f"mine_crops-{name}") as work:
        located = Localisation(params, name, work)
        heatmaps = located.of_groups(rows, _members(name, sets))
        boxes = _boxes(located, sets, rows, heatmaps, settings)
        encoder = load_image_text(params.image_text, best_device(params.device))
        embeddings = embeddings_of_crops(params, encoder, rows, boxes, work)
        write_table(folder / "crops.parquet", crop_table(sets, boxes, empty(heatmaps)))
        write_array(folder / "heatmaps.npy", as_bytes(heatmaps))
        write_array(folder / "embeddings.npy", embeddings)
        made_by = {"image_text": encoder.fingerprint, "preprocessing": encoder.preprocessing}
        write_json(folder / "embeddings.json", made_by)
    return StageSummary(
        read={"images of groups": len(sets)},
        noted={"whole images, as their heatmap is empty": int(empty(heatmaps).sum())},
        wrote={f"crops to {folder}": len(boxes)},
    )


def _members(name: str, sets: pd.DataFrame) -> sparse.csr_array:
    """Read the features whose maps give each row's heatmap: sparse 0/1, (rows, features)."""
    width = open_rows(paths.activations(name) / "features").shape[1]
    groups = read_table(paths.groups(name) / "groups.parquet")
    return membership(groups["members"], width)[pd.Index(groups["group"]).get_indexer(sets["group"])]


def _boxes(
    located: Localisation, sets: pd.DataFrame, rows: np.ndarray, heatmaps: Heatmaps, settings: MineCrops
) -> np.ndarray:
    """Compute the crop of each row: around the peak of its heatmap, and for other roles as params say."""
    return boxes_by_role(sets, located.boxes(rows, heatmaps), image_sizes(rows), settings.low_crops)
