"""Select the crops that the report shows: the strongest with heatmaps, and all on a sheet of small pictures."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table
from falcon_dvc.html.pictures import with_boxes
from falcon_dvc.report.cards import ROLES, Crop, as_crop

COLUMNS = 16  # crops side by side on a sheet
PARTS = 10  # quantiles of the activation with a crop on the page of a feature


@dataclass(frozen=True)
class CropSheet:
    """The sheet of all highly activating crops of a group, the strongest first.

    Attributes
    ----------
    shown, total : crops on the sheet, and of the group; more are evenly thinned out.
    last : the weakest crop on the sheet.
    parts : places on the sheet, with crops: the middle one of each quantile.
    """

    shown: int
    total: int
    last: Crop
    parts: list[tuple[int, Crop]]


def read_crops(name: str, images: pd.DataFrame) -> pd.DataFrame:
    """Read the highly and lowly activating crops of the encoder `name` with their activations; joined by key.

    Parameters
    ----------
    images : ``data/images.parquet``.

    Returns
    -------
    One row for each crop, by group, role and rank. Columns: those of ``crops.parquet``, ``activation``, ``label``,
    ``row`` (of the image) and ``crop`` (row of the encoder's heatmaps).
    """
    crops = read_table(paths.crops(name) / "crops.parquet")
    sets = read_table(paths.groups(name) / "sets.parquet")[["group", "role", "rank", "activation"]]
    crops = crops.assign(crop=np.arange(len(crops))).merge(sets, on=["group", "role", "rank"], how="left")
    crops = crops[crops["role"].isin(ROLES)].sort_values(["group", "role", "rank"], kind="stable")
    row = pd.Index(images["image"]).get_indexer(crops["image"])
    return crops.assign(row=row, label=images["label"].to_numpy()[row]).reset_index(drop=True)


def shown_crops(name: str, crops: pd.DataFrame, settings: Any) -> pd.DataFrame:
    """Select the first crops of each group and role, with the columns of `pictures.draw_crops`.

    Parameters
    ----------
    crops : as from `read_crops`.
    settings : section ``report`` of params.yaml.
    """
    wanted = crops["role"].map({"high": settings.high, "low": settings.low})
    shown = crops[crops.groupby(["group", "role"]).cumcount() < wanted].reset_index(drop=True)
    return with_boxes(shown, shown["row"].to_numpy(), read_array(paths.activations(name) / "fields.npy"))


def sheet_crops(crops: pd.DataFrame, settings: Any) -> pd.DataFrame:
    """Select the highly activating crops on the sheets, evenly spread over the ranks of their group.

    A group has a sheet if it has more crops than are shown with their heatmaps. The column ``total`` counts its crops.
    """
    high = crops[crops["role"] == "high"]
    by_group = high.groupby("group", sort=False)
    place, total = by_group.cumcount().to_numpy(), by_group["rank"].transform("size").to_numpy()
    wanted = np.minimum(total, settings.sheet)
    begins = place * wanted // total != (place - 1) * wanted // total  # each of the `wanted` parts shows its first crop
    return high.assign(total=total)[begins & (total > settings.high)].reset_index(drop=True)


def crop_sheets(on_sheets: pd.DataFrame) -> dict[str, CropSheet]:
    """Describe the sheet of each group; `on_sheets` is as from `sheet_crops`."""
    return {str(group): _crop_sheet(rows) for group, rows in on_sheets.groupby("group", sort=False)}


def _crop_sheet(rows: pd.DataFrame) -> CropSheet:
    places = middles(len(rows), PARTS)
    *parts, last = (as_crop(row) for row in rows.iloc[[*places, -1]].itertuples(index=False))
    return CropSheet(len(rows), int(rows["total"].iloc[0]), last, list(zip(places, parts, strict=True)))


def middles(count: int, parts: int) -> list[int]:
    """Return the middle place of each of `parts` equal parts of `count` places; every place if there are fewer."""
    parts = min(parts, count)
    return [(2 * part + 1) * count // (2 * parts) for part in range(parts)]
