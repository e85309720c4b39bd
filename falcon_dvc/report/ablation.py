"""Collect what each feature does: which logit or cosine falls if it is removed, against random directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table
from falcon_dvc.html.measurements import Measurement


@dataclass(frozen=True)
class Effect:
    """What the removal of a feature does.

    Attributes
    ----------
    output : ``logit of`` a class, or ``cosine with`` a word.
    falls_most : the class or word; "" if none falls.
    fall : its fall, with the interval over images.
    random_fall : largest fall by random directions of the same norm.
    names : class or word that the first word names; "" if it names none.
    own_fall : its fall; NaN if there is none.
    own_random : size of its change by random directions.
    """

    output: str
    falls_most: str
    fall: Measurement
    random_fall: float
    names: str
    own_fall: float
    own_random: float


def read_effects(name: str) -> dict[str, Effect]:
    """Read what each feature of the encoder `name` does.

    Raises
    ------
    UserError
        If the table is missing.
    """
    table = read_table(paths.table(f"{name}_ablation"))
    return {str(row["group"]): _effect(row) for row in table.to_dict("records")}


def _effect(row: Mapping[Any, Any]) -> Effect:
    keys = ("fall", "fall_low", "fall_high", "random_fall", "own_fall", "own_random_change")
    fall, low, high, random, own, own_random = (float(pd.to_numeric(row[key], errors="coerce")) for key in keys)
    output = "logit of" if row["output"] == "logit" else "cosine with"
    names = str(row["named_by_word"])
    return Effect(output, str(row["falls_most"]), Measurement(fall, low, high), random, names, own, own_random)
