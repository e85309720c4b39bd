"""Collect what pairs of features follow together, for the pages of groups and features, and of an encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table
from falcon_dvc.concepts.words.sentences import CONJUNCTION, Together, pairs_of, together

if TYPE_CHECKING:
    import pandas as pd


def read_together(name: str, groups: pd.DataFrame) -> tuple[dict[str, Together], list[Together]]:
    """Read the pairs of the encoder `name` that were measured.

    Parameters
    ----------
    groups : columns ``group`` and ``members``.

    Returns
    -------
    What a pair follows, by group or by feature, and the new conjunctions, by gain.
    """
    rows = read_table(paths.table(f"{name}_pairs")).to_dict("records")
    of_group = {
        group: found[0]
        for group, members in zip(groups["group"], groups["members"], strict=True)
        if (found := pairs_of(rows, members))
    }
    conjunctions = (together(row) for row in rows if row["choice"] == CONJUNCTION)
    return of_group, sorted((pair for pair in conjunctions if pair.new), key=lambda pair: (-pair.gain, pair.first))
