"""Find the words of a group that none of its members has alone (claim C2)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from falcon_dvc.members import member_lists


def new_concepts(larger: pd.DataFrame, words: dict[str, list[str]]) -> dict[str, list]:
    """Find the words of each group that no member has alone.

    The result also says whether there is such a word, and whether the first word is one. Each value has a control. A
    single feature has no concept of higher order. So the control is the share of members with a word that no other
    member has. It measures the noise at the ends of the lists.
    """
    alone = [[words.get(f"f{member}", []) for member in members] for members in member_lists(larger["members"])]
    own = [words.get(group, []) for group in larger["group"]]
    return {
        "new_words": [_only_in(words_of_group, lists) for words_of_group, lists in zip(own, alone, strict=True)],
        "has_new": [len(_only_in(words_of_group, lists)) > 0 for words_of_group, lists in zip(own, alone, strict=True)],
        "control_has_new": [_share_of_members(lists, None) for lists in alone],
        "first_is_new": [
            len(_only_in(words_of_group[:1], lists)) > 0 for words_of_group, lists in zip(own, alone, strict=True)
        ],
        "control_first_is_new": [_share_of_members(lists, 1) for lists in alone],
    }


def _share_of_members(lists: list[list[str]], first: int | None) -> float:
    """Compute the share of members with a word, among their `first` ones (None: all), that no other member has."""
    others = [lists[:place] + lists[place + 1 :] for place in range(len(lists))]
    new = [len(_only_in(own[:first], rest)) > 0 for own, rest in zip(lists, others, strict=True)]
    return float(np.mean(new))


def _only_in(own: list[str], others: list[list[str]]) -> list[str]:
    known = {word for words in others for word in words}
    return [word for word in own if word not in known]
