"""The data that the site searches: one script that every page can load from the disk, where no page may read a file."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from falcon_dvc.html.markup import readable
from falcon_dvc.report.cards import Truth, concept_key
from falcon_dvc.report.explained import Explained

CHARACTERS = 60  # of a concept
UNSAFE = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&'\u2028\u2029"}


def script(name: str, value: Any) -> str:
    """A script that sets ``window[name]``: whatever the texts hold, they cannot end it or the element that it may be in."""
    content = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).translate(UNSAFE)
    return f'"use strict";\nwindow.{name} = {content};\n'


def index(
    explained: Sequence[Explained], carriers: pd.DataFrame, truths: dict[str, dict[str, Truth]]
) -> dict[str, Any]:
    """Concepts with their pages, and groups with their concepts; texts and numbers apart, so that it stays small.

    Parameters
    ----------
    carriers : as from `explained.carriers`.
    truths : truth of each single feature, by encoder and group.

    Returns
    -------
    ``concepts`` (texts), ``keys`` (names of their pages), and for each encoder ``groups``: id, members, z, interpretable,
    concepts (indices, best first), scores (per mille), verdict and truth.
    """
    texts = sorted(set(carriers["concept"].astype(str)))
    number = {text: place for place, text in enumerate(texts)}
    return {
        "concepts": [readable(text, CHARACTERS) for text in texts],
        "keys": [concept_key(text) for text in texts],
        "encoders": [
            {"name": some.name, "groups": _groups(some, number, truths.get(some.name, {}))} for some in explained
        ],
    }


def _groups(explained: Explained, number: dict[str, int], truths: dict[str, Truth]) -> list[list[Any]]:
    """One list for each group."""
    kept = explained.tables.concepts[explained.tables.concepts["kept"]]
    kept = kept.sort_values(["group", "kind", "rank"], ascending=[True, False, True], kind="stable")
    listed = {group: some for group, some in kept.groupby("group", sort=False)[["concept", "score"]]}
    measured = explained.tables.explainability.set_index("group")
    z, interpretable = measured["z"].to_dict(), measured["interpretable"].to_dict()
    return [
        [
            row.group, row.members, _finite(z.get(row.group)), int(bool(interpretable.get(row.group, False))),
            *_scored(listed.get(row.group), number), *_told(truths.get(row.group)),
        ]
        for row in explained.groups.itertuples(index=False)
    ]  # fmt: skip


def _scored(some: pd.DataFrame | None, number: dict[str, int]) -> tuple[list[int], list[int]]:
    if some is None:
        return [], []
    scores = np.nan_to_num(some["score"].to_numpy(dtype=float) * 1000).round().astype(int)
    return [number[str(text)] for text in some["concept"]], scores.tolist()


def _told(truth: Truth | None) -> tuple[str, str]:
    return (truth.verdict, readable(f"{truth.kind} {truth.value}", CHARACTERS)) if truth else ("", "")


def _finite(value: float | None) -> float | None:
    return round(float(value), 2) if value is not None and np.isfinite(value) else None
