"""The kept words of a table of concepts, as lists and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    pass


def listed_words(concepts: pd.DataFrame) -> dict[str, list[str]]:
    """The kept words of each group of a table of concepts, by rank."""
    words = concepts[concepts["kept"] & (concepts["kind"] == "word")].sort_values(["group", "rank"], kind="stable")
    return {group: list(some) for group, some in words.groupby("group", sort=False)["concept"]}


def in_words(table: pd.DataFrame, kind: str = "word") -> pd.Series:
    """Kept concepts of one kind for people: group -> ``boat:0.91; ship:0.40``."""
    kept = table[table["kept"] & (table["kind"] == kind)].sort_values("rank", kind="stable")
    text = kept["concept"] + ":" + kept["score"].map("{:.2f}".format)
    return text.groupby(kept["group"], sort=False).agg("; ".join)


def first_concepts(table: pd.DataFrame) -> pd.Series:
    """First kept word of each group."""
    first = table[table["kept"] & (table["kind"] == "word") & (table["rank"] == 1)]
    return first.set_index("group")["concept"]
