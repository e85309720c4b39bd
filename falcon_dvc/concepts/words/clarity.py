"""Tell clear concepts from weak ones, which random crops may explain, and say in words why a group is not explained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    import pandas as pd

MAY_BE_CHANCE = "?: may be chance, no better than random crops or unrelated words"  # what a question mark means
NO_CONCEPT = "No concept is left."
NO_WORD = "No word is left, and a phrase is not measured on held-out images."


@dataclass(frozen=True)
class Faithfulness:
    """How well the first word of a group follows it on held-out images. Numbers that were not measured are NaN.

    Attributes
    ----------
    correlation, low, high : of the word's scores with the group's activations, and its interval.
    level : what features of encoders with random weights reach with the same word.
    p_value : against the explanations of controls, which have random weights.
    verdict : whether the group is explained; None if no verdict could be calibrated.
    no_verdict : why there is no verdict; "" if there is one.
    """

    correlation: float = math.nan
    low: float = math.nan
    high: float = math.nan
    level: float = math.nan
    p_value: float = math.nan
    verdict: bool | None = None
    no_verdict: str = ""

    @property
    def measured(self) -> bool:
        return not math.isnan(self.correlation)

    def trusted(self, interpretable: bool) -> bool:
        """Whether clear words of the group can be trusted: by the verdict, or else by the coherence of its crops."""
        return interpretable if self.verdict is None else self.verdict


NOT_MEASURED = Faithfulness()


def read_faithfulness(row: Mapping[str, Any]) -> Faithfulness:
    """Read a row of ``explained.parquet``, which lacks the columns of what was not measured."""
    columns = {
        "correlation": "pearson",
        "low": "pearson_low",
        "high": "pearson_high",
        "level": "level",
        "p_value": "p_value",
    }
    numbers = {name: math.nan if row.get(key) is None else float(row[key]) for name, key in columns.items()}
    verdict = row.get("explained")
    # A table of several encoders holds NaN where one of them has no verdict.
    known = None if verdict is None or verdict != verdict else bool(verdict)
    return Faithfulness(**numbers, verdict=known, no_verdict=row.get("no_verdict") or "")


def listed_concepts(concepts: pd.DataFrame, trusted: Set[str], most_weak: int) -> pd.DataFrame:
    """Leave out weak kept concepts beyond the first ones of each group and kind, and mark those that are unclear.

    The first word and the first phrase of a group are always listed.

    Parameters
    ----------
    concepts : ``concepts.parquet``.
    trusted : the groups that are explained, or may be, as from `Faithfulness.trusted`.
    most_weak : most weak words, and most weak phrases, of a group.

    Returns
    -------
    Rows of `concepts` with the column ``unclear`` (weak, or of a group that is not trusted).
    """
    marked = concepts.assign(unclear=concepts["weak"] | ~concepts["group"].isin(list(trusted)))
    weak_kept = marked[marked["kept"] & marked["weak"]].sort_values("rank", kind="stable")
    place = weak_kept.groupby(["group", "kind"], sort=False).cumcount()
    beyond = place.index[(place >= most_weak) & (weak_kept["rank"] > 1)]
    return marked.drop(index=beyond).reset_index(drop=True)


def first_of_each(concepts: pd.DataFrame) -> pd.DataFrame:
    """Select the first kept word of each group, or its first phrase if it has no word."""
    kept = concepts[concepts["kept"]]
    ranked = kept.sort_values(["group", "kind", "rank"], ascending=[True, False, True], kind="stable")
    return ranked.drop_duplicates("group")


def doubts(first: Any | None, interpretable: bool, crops: int, faithfulness: Faithfulness = NOT_MEASURED) -> list[str]:
    """Say why a group is not explained; empty if it is.

    The verdict on held-out images decides. Without one, the group is explained if it is interpretable and its first
    concept is not weak.

    Parameters
    ----------
    first : its first concept, a row of ``concepts.parquet``; None if it has none.
    interpretable : whether its crops look more alike than random crops.
    crops : number of its highly activating crops.
    faithfulness : how well its first word follows it on held-out images.
    """
    if faithfulness.verdict is None:
        return _doubts_about_crops(first, interpretable, crops)
    if first is None or first.kind != "word":
        return [NO_CONCEPT if first is None else NO_WORD]
    return [] if faithfulness.verdict else [_unfaithful(faithfulness)]


def _doubts_about_crops(first: Any | None, interpretable: bool, crops: int) -> list[str]:
    found = []
    if crops < 2:
        found.append("It has fewer than two crops, so nothing can be compared.")
    elif not interpretable:
        found.append("Its crops look no more alike than random crops.")
    if first is None:
        found.append(NO_CONCEPT)
    elif crops > 1 and first.weak:
        found.append(_chance(first))
    return found


def _unfaithful(faithfulness: Faithfulness) -> str:
    return (
        "On held-out images, its first word does not follow it clearly better than words follow features of random weights "
        f"(correlation {faithfulness.correlation:.2f}, p {faithfulness.p_value:.2g})."
    )


def _chance(first: Any) -> str:
    if first.interval_low > first.prior:  # so the crops do not say it, but the ranking over all images
        return f"“{first.concept}” may be chance: over all images, it follows the feature no better than the best of unrelated words would."
    known = first.interval_low == first.interval_low
    interval = f" ({first.interval_low:.2f}–{first.interval_high:.2f})" if known else ""
    return f"“{first.concept}” may be chance: it scores {first.score:.2f}{interval}, and {first.prior:.2f} on random crops."
