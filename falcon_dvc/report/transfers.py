"""Collect what the report shows of a transfer: images of a group in the explained space, and those found by the map."""

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

EXAMPLES = 12  # groups shown with images, spread evenly from the best agreement to the worst
IMAGES = 6  # images found by the map, shown of each group


@dataclass(frozen=True)
class FoundImage:
    """An image found by the map; `own` if it also is among the most activating images of the explained space."""

    image: str
    own: bool


@dataclass(frozen=True)
class TransferredGroup:
    """A group of the explained space in the unseen space.

    Attributes
    ----------
    overlap, null : share of images that both spaces find, by the map and by a null map.
    shared : share of the words of the explained space that are found in the unseen space.
    words : words found by the map, with their scores.
    found : images found by the map; only for the groups that are shown.
    """

    link: Link
    overlap: float
    null: float
    shared: float
    words: list[str]
    found: list[FoundImage]


@dataclass(frozen=True)
class TransferPage:
    """One ordered pair of spaces."""

    pair: str
    explained: str
    unseen: str
    carried: dict[str, TransferredGroup]
    examples: list[TransferredGroup]
    measured: MeasurementTable
    tiles: list[Tile]


def collect_transfer(
    pair: str, names: Any, links: Mapping[str, Link], measured: MeasurementTable, images: pd.DataFrame,
    source: ImageSource, size: int,
) -> TransferPage:  # fmt: skip
    """Collect the content of a pair's page, with the pictures of its examples.

    Parameters
    ----------
    names : ``explained`` and ``unseen``.
    links : links to the groups of the explained encoder.
    size : side of a picture in pixels.

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
    of_examples = pictures.set_index("group").loc[shown].reset_index() if shown else pictures.head(0)
    found = {
        group: [FoundImage(row.image, bool(row.own)) for row in rows.itertuples()]
        for group, rows in of_examples.groupby("group")
    }
    groups = {row["group"]: _transferred(row, links, found) for row in table.to_dict("records")}
    examples = [groups[group] for group in shown]
    tiles = _tiles(of_examples, images, source, size)
    return TransferPage(pair, names.explained, names.unseen, groups, examples, measured, tiles)


def spread(table: pd.DataFrame, count: int) -> list[str]:
    """Select `count` groups, spread evenly from the best agreement of images to the worst."""
    ranked = table.sort_values("image_overlap", ascending=False, kind="stable")["group"].tolist()
    places = np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)
    return [ranked[place] for place in places]


def _transferred(
    row: Mapping[Any, Any], links: Mapping[str, Link], found: Mapping[str, list[FoundImage]]
) -> TransferredGroup:
    scored = (word.rpartition(":") for word in str(row["words"]).split("; ") if word)
    words = [f"{word} {score}" for word, _, score in scored]
    overlap, null, shared = (float(row[name]) for name in ("image_overlap", "image_overlap_null", "concept_overlap"))
    return TransferredGroup(links[row["group"]], overlap, null, shared, words, found.get(row["group"], []))


def _tiles(pictures: pd.DataFrame, images: pd.DataFrame, source: ImageSource, size: int) -> list[Tile]:
    """Draw the crop of each picture, then its whole image with the box."""
    rows = pd.Index(images["image"]).get_indexer(pictures["image"])
    boxes = [tuple(int(side) for side in box) for box in pictures[["left", "top", "right", "bottom"]].to_numpy()]

    def draw(image: Picture, place: int) -> tuple[Tile, Tile]:
        left, top, right, bottom = boxes[place]
        box = (left, top, right, bottom)
        return tile(cut_out(image, box, size), size), tile(draw_box_on(image, box, size), size)

    return [drawn for tiles in for_each_image(source, rows.tolist(), draw) for drawn in tiles]
