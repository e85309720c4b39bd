"""Collect what each feature follows: its words with R² on held-out images, and the facets of its crops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json, read_table
from falcon_dvc.concepts.words.sentences import SetWord, words_of_set
from falcon_dvc.members import member_lists
from falcon_dvc.report.crops import COLUMNS

EXAMPLES = 3  # crops of a facet
WORDS = 5  # of a facet


@dataclass(frozen=True)
class Example:
    """A crop on a picture of the site: the file, its columns, and the place of the crop."""

    picture: str
    columns: int
    column: int
    row: int


@dataclass(frozen=True)
class Facet:
    """A cluster of the crops of a feature.

    Attributes
    ----------
    share : of the feature's crops.
    words : with scores, the first word first.
    examples : its most typical crops that a picture of the site shows.
    """

    crops: int
    share: float
    words: list[tuple[str, float]]
    examples: list[Example]


@dataclass(frozen=True)
class Follows:
    """What a feature follows.

    Attributes
    ----------
    sentence : its words with their relations and R² on held-out images; "" if it follows no word.
    words : these words, with what each adds to R².
    r2_first : R² on held-out images with the first word; NaN if not measured.
    facets : the largest first; one if its crops are alike.
    """

    sentence: str
    words: list[SetWord]
    r2_first: float
    facets: list[Facet]


def read_follows(name: str, shown: pd.DataFrame, on_sheets: pd.DataFrame, columns: int) -> dict[str, Follows]:
    """Read what each feature of the encoder `name` follows.

    Parameters
    ----------
    shown, on_sheets : crops on the pictures of the groups and on the sheets of all their crops (`report.crops`).
    columns : crops side by side on the picture of a group.
    """
    facets, examples = read_table(paths.facets(name)), _examples(shown, on_sheets, columns)
    ranks = member_lists(facets["ranks"])
    of_feature: dict[str, list[Facet]] = {}
    for row, order in zip(facets.itertuples(index=False), ranks, strict=True):
        places = [examples[row.group, rank] for rank in order if (row.group, rank) in examples][:EXAMPLES]
        facet = Facet(int(row.crops), float(row.share), _scored(str(row.words))[:WORDS], places)
        of_feature.setdefault(str(row.group), []).append(facet)
    table = read_table(paths.table(f"{name}_word_sets"))
    return {str(row["group"]): _follows(row, of_feature.get(str(row["group"]), [])) for row in table.to_dict("records")}


def read_agreement(name: str) -> Mapping[str, Any] | None:
    """Read how well the words of an encoder's features agree with the attributes that these follow; None if not known."""
    path = paths.metrics(f"facets_{name}")
    truth = read_json(path).get("truth") if path.is_file() else None
    return truth if truth and truth["features"] else None


def _examples(shown: pd.DataFrame, on_sheets: pd.DataFrame, columns: int) -> dict[tuple[str, int], Example]:
    """Find the picture and place of each crop, by group and rank; a group with a sheet has all its examples there."""
    high = shown[(shown["role"] == "high") & ~shown["group"].isin(on_sheets["group"])]
    return {
        (str(group), int(rank)): Example(f"{group}{suffix}", wide, place % wide, place // wide)
        for crops, suffix, wide in ((high, ".webp", columns), (on_sheets, "-crops.jpg", COLUMNS))
        for group, rank, place in zip(
            crops["group"], crops["rank"], crops.groupby("group", sort=False).cumcount(), strict=True
        )
    }


def _scored(text: str) -> list[tuple[str, float]]:
    """Read words with their scores: ``boat:0.91; ship:0.40``."""
    scored = (word.rpartition(":") for word in text.split("; ") if word)
    return [(word, float(pd.to_numeric(score, errors="coerce"))) for word, _, score in scored]


def _follows(row: Mapping[Any, Any], facets: list[Facet]) -> Follows:
    first = float(pd.to_numeric(row.get("r2_1"), errors="coerce"))
    return Follows(str(row["sentence"]), words_of_set(row), first, facets)
