"""A concept in two spaces: its images in the explained one, and those that the linear map finds in the unseen one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table
from falcon_dvc.html.measurements import MeasurementTable
from falcon_dvc.html.pictures import Tile, cut_out, draw_box_on, for_each_image, tile
from falcon_dvc.images.decode import Picture
from falcon_dvc.images.source import ImageSource
from falcon_dvc.report.explained import Link

EXAMPLES = 12  # groups whose images are shown: spread evenly from the best agreement to the worst
IMAGES = 6  # found through the map, shown of each


@dataclass(frozen=True)
class Found:
    """An image found through the map; `own` if it is also among the explained space's most activating ones."""

    image: str
    own: bool


@dataclass(frozen=True)
class Carried:
    """What became of one group.

    Attributes
    ----------
    overlap, null : share of the images that both spaces find; of those that a null map finds.
    shared : share of the explained space's words that are found again.
    words : found through the map, with their scores.
    found : images; only of the groups that are shown.
    """

    link: Link
    overlap: float
    null: float
    shared: float
    words: list[str]
    found: list[Found]


@dataclass(frozen=True)
class TransferPage:
    """One ordered pair of spaces."""

    pair: str
    explained: str
    unseen: str
    carried: dict[str, Carried]
    examples: list[Carried]
    measured: MeasurementTable
    tiles: list[Tile]


def collect_transfer(
    pair: str, names: Any, links: Mapping[str, Link], measured: MeasurementTable, images: pd.DataFrame,
    source: ImageSource, size: int,
) -> TransferPage:  # fmt: skip
    """What one pair's page shows, with the pictures of its examples.

    Parameters
    ----------
    names : ``explained`` and ``unseen``.
    links : of the explained encoder's groups.
    size : pixels a side of a picture.

    Raises
    ------
    UserError
        If a table is missing.
    """
    table = read_table(paths.table(f"transfer_{pair}"))
    table = table[table["group"].isin(list(links))]
    pictures = read_table(paths.transfers(pair))
    pictures = pictures[pictures["rank"] < IMAGES].sort_values(["group", "rank"], kind="stable")
    shown = spread(table, EXAMPLES)
    some = pictures.set_index("group").loc[shown].reset_index() if shown else pictures.head(0)
    found = {
        group: [Found(row.image, bool(row.own)) for row in rows.itertuples()] for group, rows in some.groupby("group")
    }
    carried = {row["group"]: _carried(row, links, found) for row in table.to_dict("records")}
    examples = [carried[group] for group in shown]
    tiles = _tiles(some, images, source, size)
    return TransferPage(pair, names.explained, names.unseen, carried, examples, measured, tiles)


def spread(table: pd.DataFrame, count: int) -> list[str]:
    """Groups from the best agreement of images to the worst, at even distances: neither the best nor the worst alone."""
    ranked = table.sort_values("image_overlap", ascending=False, kind="stable")["group"].tolist()
    places = np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)
    return [ranked[place] for place in places]


def _carried(row: Mapping[Any, Any], links: Mapping[str, Link], found: Mapping[str, list[Found]]) -> Carried:
    words = [word for word in str(row["words"]).split("; ") if word]
    overlap, null, shared = (float(row[name]) for name in ("image_overlap", "image_overlap_null", "concept_overlap"))
    return Carried(links[row["group"]], overlap, null, shared, words, found.get(row["group"], []))


def _tiles(pictures: pd.DataFrame, images: pd.DataFrame, source: ImageSource, size: int) -> list[Tile]:
    """Crop, then whole image with its box, of each picture in turn."""
    rows = pd.Index(images["image"]).get_indexer(pictures["image"])
    boxes = [tuple(int(side) for side in box) for box in pictures[["left", "top", "right", "bottom"]].to_numpy()]

    def draw(image: Picture, place: int) -> tuple[Tile, Tile]:
        left, top, right, bottom = boxes[place]
        box = (left, top, right, bottom)
        return tile(cut_out(image, box, size), size), tile(draw_box_on(image, box, size), size)

    return [part for pair in for_each_image(source, rows.tolist(), draw) for part in pair]
