"""Collect how the first word of each feature does below its maximum, and draw example images from there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.activations.parts import PLACES
from falcon_dvc.artifacts.formats import read_table
from falcon_dvc.concepts.words.sentences import SEPARATOR
from falcon_dvc.html.measurements import Measurement, in_words
from falcon_dvc.html.pictures import Tile, boxed_images

if TYPE_CHECKING:
    from falcon_dvc.images.source import ImageSource

EXAMPLES = 4  # side by side, of a part


@dataclass(frozen=True)
class Example:
    """An image of a part: its name, and the activation of the feature."""

    image: str
    activation: float


@dataclass(frozen=True)
class Part:
    """The images of a feature in a part of the range of its activation.

    Attributes
    ----------
    name : of the part, in words; `place` is the same for use in a sentence.
    images : their number.
    words : whose scores stand out most there.
    score : mean score of the first word over them; `lift` is this over the mean over all images.
    shown : share of them that show what the word names; None if that is not known.
    examples : some of them.
    row : of the examples on their picture.
    """

    name: str
    place: str
    images: int
    words: list[str]
    score: Measurement
    lift: float
    shown: Measurement | None
    examples: list[Example]
    row: int


@dataclass(frozen=True)
class BelowMaximum:
    """How the first word of a feature does by part of the range of the activation.

    Attributes
    ----------
    chance : mean score of the word over all images; `shown_by_chance` is the share that show it, NaN if not known.
    holds_to : percentile of the activations above 0 down to which the word holds.
    parts : the part with the largest activations first.
    """

    chance: float
    shown_by_chance: float
    holds_to: float
    parts: list[Part]

    @property
    def examples(self) -> list[Part]:
        """The parts with examples."""
        return [part for part in self.parts if part.examples]


def read_below_maximum(name: str) -> dict[str, BelowMaximum]:
    """Read how the first word of each feature of the encoder `name` does below its maximum, by group.

    Features without a word or without an activation above 0 are left out.

    Raises
    ------
    UserError
        If a table is missing.
    """
    table, examples = read_table(paths.table(f"{name}_quantiles")), read_table(paths.quantiles(name))
    measured = table.assign(**{key: pd.to_numeric(table[key], errors="coerce") for key in _numbers(table)})
    measured = measured[measured["holds_to"].notna()]
    rows = examples.groupby(["group", "part"], sort=False).indices
    found: dict[str, list[Any]] = {}
    for row in measured.itertuples(index=False):
        found.setdefault(str(row.group), []).append(row)
    return {group: _below(parts, group, examples, rows) for group, parts in found.items()}


def _numbers(table: pd.DataFrame) -> list[str]:
    return [str(key) for key in table if key not in ("group", "part", "word", "words", "permuted_word")]


def _below(parts: list[Any], group: str, examples: pd.DataFrame, rows: Any) -> BelowMaximum:
    some = [examples.iloc[rows.get((group, row.part), [])] for row in parts]
    with_examples = np.cumsum([len(table) > 0 for table in some]) - 1
    first = parts[0]
    return BelowMaximum(
        float(first.chance),
        float(getattr(first, "shown_by_chance", np.nan)),
        float(first.holds_to),
        [_part(row, table, int(place)) for row, table, place in zip(parts, some, with_examples, strict=True)],
    )


def _part(row: Any, examples: pd.DataFrame, place: int) -> Part:
    shown = Measurement(row.shown, row.shown_low, row.shown_high) if getattr(row, "shown", np.nan) >= 0 else None
    return Part(
        in_words(row.part),
        PLACES[row.part],
        int(row.images),
        [word for word in str(row.words).split(SEPARATOR) if word],
        Measurement(row.score, row.score_low, row.score_high),
        float(row.lift),
        shown,
        [Example(str(some.image), float(some.activation)) for some in examples.itertuples(index=False)],
        place,
    )


def example_pictures(
    name: str, groups: list[str], images: pd.DataFrame, source: ImageSource, size: int
) -> Iterator[tuple[str, list[Tile]]]:
    """Yield the tiles of the examples of each group that has some: `EXAMPLES` a part, the part with larger activations first.

    Parameters
    ----------
    groups : as many as are in memory together.
    images : ``data/images.parquet``.
    size : side of a tile, in pixels.
    """
    examples = read_table(paths.quantiles(name))
    examples = examples[examples["group"].isin(groups)].sort_values(["group", "part", "rank"], kind="stable")
    rows = pd.Index(images["image"]).get_indexer(examples["image"])
    drawn = iter(boxed_images(source, examples.assign(row=rows), size))
    for group, parts in examples.groupby("group", sort=True)["part"]:
        yield str(group), [tile for count in parts.value_counts(sort=False) for tile in _filled(drawn, count, size)]


def _filled(drawn: Iterator[Tile], count: int, size: int) -> list[Tile]:
    """Take the tiles of a part, and fill their row with empty ones."""
    empty: Tile = np.zeros((size, size, 4), dtype=np.uint8)
    return [*islice(drawn, count), *[empty] * (EXAMPLES - count)]
