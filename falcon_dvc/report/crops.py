"""Select the crops that the report shows, with the data to draw them."""

from typing import Any

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table
from falcon_dvc.html.pictures import with_boxes
from falcon_dvc.report.cards import ROLES


def shown_crops(name: str, settings: Any, images: pd.DataFrame) -> pd.DataFrame:
    """Select the first crops of each group and role of the encoder `name`, with their activations; joined by key.

    Parameters
    ----------
    settings : section ``report`` of params.yaml.
    images : ``data/images.parquet``.

    Returns
    -------
    One row for each crop. Columns: ``group``, ``role``, ``image``, ``label``, ``activation``, ``empty``; and to draw
    the crop: ``row`` (of the image), ``crop`` (row of the encoder's heatmaps), ``box`` and ``field`` (left, top, right,
    bottom in pixels of the original).
    """
    crops = read_table(paths.crops(name) / "crops.parquet")
    sets = read_table(paths.groups(name) / "sets.parquet")[["group", "role", "rank", "activation"]]
    crops = crops.assign(crop=np.arange(len(crops))).merge(sets, on=["group", "role", "rank"], how="left")
    crops = crops[crops["role"].isin(ROLES)].sort_values(["group", "role", "rank"], kind="stable")
    wanted = crops["role"].map({"high": settings.high, "low": settings.low})
    shown = crops[crops.groupby(["group", "role"]).cumcount() < wanted].reset_index(drop=True)
    row = pd.Index(images["image"]).get_indexer(shown["image"])
    fields = read_array(paths.activations(name) / "fields.npy")
    return with_boxes(shown.assign(label=images["label"].to_numpy()[row]), row, fields)
