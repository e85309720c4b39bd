"""Which crops the report shows, and what is needed to draw them."""

from typing import Any

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table
from falcon_dvc.report.cards import ROLES


def shown_crops(name: str, settings: Any, images: pd.DataFrame) -> pd.DataFrame:
    """The first crops of each group and role of the encoder `name`, with their activations; joined by key.

    Parameters
    ----------
    settings : section ``report`` of params.yaml.
    images : ``data/images.parquet``.

    Returns
    -------
    One row a crop; columns ``group``, ``role``, ``image``, ``label``, ``activation``, ``empty``; for the drawing
    ``row`` (of the image), ``crop`` (row of the encoder's heatmaps), ``box`` and ``field`` (left, top, right, bottom in
    pixels of the original).
    """
    crops = read_table(paths.crops(name) / "crops.parquet")
    sets = read_table(paths.groups(name) / "sets.parquet")[["group", "role", "rank", "activation"]]
    crops = crops.assign(crop=np.arange(len(crops))).merge(sets, on=["group", "role", "rank"], how="left")
    crops = crops[crops["role"].isin(ROLES)].sort_values(["group", "role", "rank"], kind="stable")
    wanted = crops["role"].map({"high": settings.high, "low": settings.low})
    shown = crops[crops.groupby(["group", "role"]).cumcount() < wanted].reset_index(drop=True)
    row = pd.Index(images["image"]).get_indexer(shown["image"])
    fields = read_array(paths.activations(name) / "fields.npy")[row]
    boxes = shown[["left", "top", "right", "bottom"]].to_numpy()
    return shown.assign(row=row, label=images["label"].to_numpy()[row], box=_tuples(boxes), field=_tuples(fields))


def _tuples(boxes: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(box) for box in boxes.tolist()]
