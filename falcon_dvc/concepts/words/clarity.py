"""Tell clear concepts from weak ones, which random crops may explain, and say in words why a group is not explained."""

from collections.abc import Set
from typing import Any

import numpy as np
import pandas as pd


def weak(concepts: Any) -> Any:
    """Find the concepts whose interval reaches their prior, or that have no interval.

    Parameters
    ----------
    concepts : rows of ``concepts.parquet``, or one of them.

    Returns
    -------
    A bool for each row.
    """
    return ~(np.asarray(concepts.interval_low) > np.asarray(concepts.prior))


def listed_concepts(concepts: pd.DataFrame, interpretable: Set[str], most_weak: int) -> pd.DataFrame:
    """Leave out weak kept concepts beyond the first ones of each group and kind, and mark those that are unclear.

    The first word and the first phrase of a group are always listed.

    Parameters
    ----------
    concepts : ``concepts.parquet``.
    interpretable : the groups whose crops look more alike than random crops.
    most_weak : most weak words, and most weak phrases, of a group.

    Returns
    -------
    Rows of `concepts` with the columns ``weak`` and ``unclear`` (weak, or of a group that is not interpretable).
    """
    is_weak = pd.Series(weak(concepts), index=concepts.index)
    counted = concepts[concepts["kept"] & is_weak].sort_values("rank", kind="stable")
    place = counted.groupby(["group", "kind"], sort=False).cumcount().reindex(concepts.index, fill_value=0)
    beyond = concepts["kept"] & is_weak & (place >= most_weak) & (concepts["rank"] > 1)
    unclear = is_weak | ~concepts["group"].isin(list(interpretable))
    return concepts.assign(weak=is_weak, unclear=unclear)[~beyond].reset_index(drop=True)


def first_of_each(concepts: pd.DataFrame) -> pd.DataFrame:
    """Select the first kept word of each group, or its first phrase if it has no word."""
    kept = concepts[concepts["kept"]].sort_values(
        ["group", "kind", "rank"], ascending=[True, False, True], kind="stable"
    )
    return kept.drop_duplicates("group")


def doubts(first: Any | None, interpretable: bool, crops: int) -> list[str]:
    """Say why a group is not explained; empty if it is.

    Parameters
    ----------
    first : its first concept, a row of ``concepts.parquet``; None if it has none.
    interpretable : whether its crops look more alike than random crops.
    crops : number of its highly activating crops.
    """
    found = []
    if crops < 2:
        found.append("It has fewer than two crops, so nothing can be compared.")
    elif not interpretable:
        found.append("Its crops look no more alike than random crops.")
    if first is None:
        found.append("No concept is left.")
    elif crops > 1 and weak(first):
        interval = f"{first.interval_low:.2f}–{first.interval_high:.2f}"
        found.append(
            f"“{first.concept}” may be chance: it scores {first.score:.2f} ({interval}), and {first.prior:.2f} on random crops."
        )
    return found
