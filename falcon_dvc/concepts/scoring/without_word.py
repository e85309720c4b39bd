"""Count the groups without a word by reason, and find constants of the contrast that leave a word to more of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from falcon_dvc.artifacts.shortfalls import proposed
from falcon_dvc.concepts.scoring.contrasts import CONTRASTS

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Concepts

# Laxer values of the constant of a contrast, the nearest first.
LAXER: dict[str, tuple[str, tuple[float, ...]]] = {
    "released": ("low_cut", (0.15, 0.2, 0.3, 0.5)),
    "relative": ("relative_cut", (0.7, 0.75, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0)),
    "graded": ("gamma", (0.2, 0.15, 0.1, 0.05)),
    "both": ("gamma", (0.2, 0.15, 0.1, 0.05)),
}


def without_word(groups: pd.Series, table: pd.DataFrame, settings: Concepts) -> dict[str, Any]:
    """Count the groups without a kept word, and propose values of params.

    Parameters
    ----------
    groups : ids of all groups.
    table : as from `tables.concept_table`.

    Returns
    -------
    ``without_word`` (counts), and ``proposed`` (by param, the value and the number of groups that have a word with it) if
    a value leaves a word to more; empty if all groups have a word.
    """
    words = table[table["kind"] == "word"]
    lacking = set(groups) - set(words.loc[words["kept"], "group"])
    if not lacking:
        return {}
    removed, now = words[words["group"].isin(lacking)], len(groups) - len(lacking)
    by_contrast = removed["group"].nunique()
    name, values = LAXER.get(settings.contrast, ("", ()))
    laxer = [
        value for value in values if (value < settings.gamma if name == "gamma" else value > getattr(settings, name))
    ]
    way = proposed({value: now + _left_with(removed, settings, {name: value}) for value in laxer}, now)
    ways = {name: way} if way else {}
    ways |= {"contrast_off": {"explained": now + by_contrast}} if by_contrast and settings.contrast != "off" else {}
    counts = {"by_contrast": by_contrast, "by_captions": len(lacking) - by_contrast}
    return {"without_word": counts} | ({"proposed": ways} if ways else {})


def _left_with(removed: pd.DataFrame, settings: Concepts, constants: dict[str, float]) -> int:
    """Count the groups to which the contrast with other constants leaves one of the words that it removes now."""
    scores: Any = SimpleNamespace(
        **{
            name: removed[column].to_numpy()
            for name, column in (("score", "score"), ("low", "low_score"), ("prior", "prior"))
        }
    )
    also_low = np.ones(len(removed), dtype=bool)
    _, kept = CONTRASTS[settings.contrast].rule(scores, settings.model_copy(update=constants), also_low)
    return removed.loc[kept, "group"].nunique()
