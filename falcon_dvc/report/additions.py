"""Collect what a group of features adds to its members: words that no member has, and a gain over the best member."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table
from falcon_dvc.html.measurements import Measurement
from falcon_dvc.report.explained import ExplainedEncoder

Scores = Mapping[tuple[str, str], float]  # of the words of groups, by group and word


@dataclass(frozen=True)
class Gain:
    """How well a group predicts what its words name on held-out images, against its best member.

    Attributes
    ----------
    verdict : ``more``, ``less``, or ``alike`` if the interval of the gain contains 0.
    """

    named: str
    group: float
    best_member: str
    member: float
    gain: Measurement
    verdict: str


@dataclass(frozen=True)
class Addition:
    """What a group adds.

    Attributes
    ----------
    new_words : words of the group that no member has, and whether they are clear; these come first.
    first : first word of the group with its score; "" if it has no word.
    alone : score of this word for each member; None where the word is not among those of the member.
    gain : None if it was not measured.
    """

    new_words: list[tuple[str, bool]]
    first: str
    score: float | None
    alone: list[tuple[str, float | None]]
    gain: Gain | None


def read_additions(explained: ExplainedEncoder) -> dict[str, Addition]:
    """Read what each group of two or more features of an encoder adds.

    Raises
    ------
    UserError
        If the encoder has such groups, and their table is missing.
    """
    if (explained.groups["size"] == 1).all():
        return {}
    words = explained.tables.concepts[explained.tables.concepts["kind"] == "word"]
    scores = {(row.group, row.concept): float(row.score) for row in words.itertuples(index=False)}
    clear = {(row.group, row.concept) for row in words[words["kept"] & ~words["unclear"]].itertuples(index=False)}
    table = read_table(paths.table(f"{explained.name}_groups"))
    return {
        str(row["group"]): _addition(row, explained.link_of[row["group"]].says, scores, clear)
        for row in table.to_dict("records")
        if row["group"] in explained.link_of
    }


def _addition(row: Mapping[Any, Any], first: str, scores: Scores, clear: Set[tuple[str, str]]) -> Addition:
    new_words = [(word, (row["group"], word) in clear) for word in str(row["new_words"]).split("; ") if word]
    members = [f"f{member}" for member in str(row["members"]).split()]
    return Addition(
        new_words=sorted(new_words, key=lambda item: not item[1]),
        first=first,
        score=scores.get((row["group"], first)),
        alone=[(member, scores.get((member, first))) for member in members],
        gain=_gain(row),
    )


def _gain(row: Mapping[Any, Any]) -> Gain | None:
    """Read the gain of a group; None if it was not measured."""
    numbers = ("selectivity", "member_selectivity", "gain", "gain_low", "gain_high")
    group, member, gain, low, high = (float(pd.to_numeric(row.get(name), errors="coerce")) for name in numbers)
    if pd.isna(gain):
        return None
    verdict = "more" if low > 0 else "less" if high < 0 else "alike"
    named = str(row["named_after"])
    return Gain(named, group, str(row["best_member"]), member, Measurement(gain, low, high), verdict)
