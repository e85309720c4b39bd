"""Tell clear concepts from weak ones, which random crops may explain, and say in words why a group is not explained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Set

    import pandas as pd

MAY_BE_CHANCE = "?: may be chance, the interval reaches the score on random crops"  # what a question mark means


def is_weak(interval_low: float, prior: float) -> bool:
    """Whether the interval of a concept reaches its prior, or is not known (NaN)."""
    return not interval_low > prior


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
    weak = ~(concepts["interval_low"] > concepts["prior"])
    marked = concepts.assign(weak=weak, unclear=weak | ~concepts["group"].isin(list(interpretable)))
    weak_kept = marked[marked["kept"] & weak].sort_values("rank", kind="stable")
    place = weak_kept.groupby(["group", "kind"], sort=False).cumcount()
    beyond = place.index[(place >= most_weak) & (weak_kept["rank"] > 1)]
    return marked.drop(index=beyond).reset_index(drop=True)


def first_of_each(concepts: pd.DataFrame) -> pd.DataFrame:
    """Select the first kept word of each group, or its first phrase if it has no word."""
    kept = concepts[concepts["kept"]]
    ranked = kept.sort_values(["group", "kind", "rank"], ascending=[True, False, True], kind="stable")
    return ranked.drop_duplicates("group")


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
    elif crops > 1 and is_weak(first.interval_low, first.prior):
        found.append(_chance(first))
    return found


def _chance(first: Any) -> str:
    known = first.interval_low == first.interval_low
    interval = f" ({first.interval_low:.2f}–{first.interval_high:.2f})" if known else ""
    return f"“{first.concept}” may be chance: it scores {first.score:.2f}{interval}, and {first.prior:.2f} on random crops."
