"""What groups add to single features (C2): support, significance, and concepts that no member has alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stages.common import files
from stages.common.artifacts import read_table, write_json, write_table
from stages.common.tables import in_words, safe_cell

if TYPE_CHECKING:
    from stages.common.params import Params


def run(params: Params, name: str) -> None:
    """Write the table of groups of two and more of the encoder `name`, and their metrics."""
    groups = read_table(files.groups(name) / "groups.parquet")
    concepts = read_table(files.concepts(name) / "concepts.parquet")
    larger = groups[groups["size"] > 1].reset_index(drop=True)
    new = _new_concepts(larger, concepts)
    words = larger["group"].map(in_words(concepts)).fillna("").map(safe_cell)
    write_table(files.table(f"{name}_groups"), larger.assign(words=words, new_words=["; ".join(some) for some in new]))
    write_json(files.metrics(f"groups_{name}"), _metrics(groups, larger, new))


def _new_concepts(larger: pd.DataFrame, concepts: pd.DataFrame) -> list[list[str]]:
    """Words of each group that are among the words of no member alone (higher-order concepts)."""
    words = concepts[concepts["kept"] & (concepts["kind"] == "word")]
    listed = {group: list(some) for group, some in words.groupby("group", sort=False)["concept"]}
    alone = [{word for member in text.split() for word in listed.get(f"f{member}", [])} for text in larger["members"]]
    return [
        [safe_cell(word) for word in listed.get(group, []) if word not in known]
        for group, known in zip(larger["group"], alone, strict=True)
    ]


def _metrics(groups: pd.DataFrame, larger: pd.DataFrame, new: list[list[str]]) -> dict:
    """Number of groups by size, how often they fire beyond chance, and how many have a new concept."""
    sizes = {f"of_{size}": int(count) for size, count in groups["size"].value_counts().sort_index().items()}
    if larger.empty:
        return {"groups": sizes}
    return {
        "groups": sizes,
        "median_support": float(larger["support"].median()),
        "median_lift": float(larger["lift"].median()),
        "share_with_new_concept": float(np.mean([len(some) > 0 for some in new])),
    }
