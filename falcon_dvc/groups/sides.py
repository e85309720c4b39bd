"""Name the side of a direction that a feature is: of n directions with both signs, feature n + j is the negative side of feature j."""

from __future__ import annotations

import pandas as pd

from falcon_dvc.members import member_lists

POSITIVE, NEGATIVE = "positive", "negative"


def with_sides(groups: pd.DataFrame, features: int) -> pd.DataFrame:
    """Add the columns ``side`` (``positive`` or ``negative``) and ``opposite`` (the id of the other side).

    Groups of two and more features have the sides of all members ("positive negative"), and no opposite.

    Parameters
    ----------
    groups : with ``members``.
    features : number of all features, twice that of the directions.
    """
    directions, members = features // 2, member_lists(groups["members"])
    sides = [" ".join(POSITIVE if member < directions else NEGATIVE for member in some) for some in members]
    opposite = [f"f{(some[0] + directions) % features}" if len(some) == 1 else "" for some in members]
    return groups.assign(side=sides, opposite=opposite)


def count_sides(groups: pd.DataFrame) -> dict[str, int]:
    """Count the single features of each side, and the directions with both; empty without sides."""
    if "side" not in groups:
        return {}
    single = groups[groups["size"] == 1]
    counts = {f"{side}_sides": int((single["side"] == side).sum()) for side in (POSITIVE, NEGATIVE)}
    return {**counts, "directions_with_both": int(single["opposite"].isin(single["group"]).sum()) // 2}
