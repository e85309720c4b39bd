"""The search index of the site, as a script: a page on the disk may load scripts, but may not read files."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from falcon_dvc.concepts.words.clarity import NOT_MEASURED
from falcon_dvc.html.markup import readable
from falcon_dvc.report.cards import Truth, concept_key
from falcon_dvc.report.explained import ExplainedEncoder

CHARACTERS = 60  # shown of a concept
UNSAFE = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&'\u2028\u2029"}


def script(name: str, value: Any) -> str:
    """Make a script that sets ``window[name]``; no text in the value can end the script or its element."""
    content = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).translate(UNSAFE)
    return f'"use strict";\nwindow.{name} = {content};\n'


def index(
    explained: Sequence[ExplainedEncoder],
    carriers: pd.DataFrame,
    truths: dict[str, dict[str, Truth]],
    synonyms: dict[str, list[str]],
) -> dict[str, Any]:
    """Index concepts with their pages, and groups with their concepts. Concepts are numbered to keep the index small.

    Parameters
    ----------
    carriers : as from `explained.carriers`.
    truths : truth of each single feature, by encoder and group.
    synonyms : other words for each concept.

    Returns
    -------
    ``concepts`` (texts), ``also`` (their synonyms), ``keys`` (names of their pages), and for each encoder ``groups``: id,
    members, correlation (of the first word on held-out images), explained, concepts (indices, best first), scores (per
    mille), verdict, truth and unclear (places of the concepts that are).
    """
    texts = sorted(set(carriers["concept"].astype(str)))
    number = {text: place for place, text in enumerate(texts)}
    return {
        "concepts": [readable(text, CHARACTERS) for text in texts],
        "also": [readable(" ".join(synonyms.get(text, [])), CHARACTERS) for text in texts],
        "keys": [concept_key(text) for text in texts],
        "encoders": [{"name": one.name, "groups": _groups(one, number, truths.get(one.name, {}))} for one in explained],
    }


def _groups(explained: ExplainedEncoder, number: dict[str, int], truths: dict[str, Truth]) -> list[list[Any]]:
    """Make one list for each group."""
    kept = explained.tables.concepts[explained.tables.concepts["kept"]]
    kept = kept.sort_values(["group", "kind", "rank"], ascending=[True, False, True], kind="stable")
    listed = {group: rows for group, rows in kept.groupby("group", sort=False)[["concept", "score", "unclear"]]}
    return [
        [
            row.group, row.members, _correlation(explained, row.group), int(not explained.tables.doubts[row.group]),
            *_scored(listed.get(row.group), number), *_verdict_and_truth(truths.get(row.group)),
            _unclear(listed.get(row.group)),
        ]
        for row in explained.groups.itertuples(index=False)
    ]  # fmt: skip


def _scored(concepts: pd.DataFrame | None, number: dict[str, int]) -> tuple[list[int], list[int]]:
    if concepts is None:
        return [], []
    scores = np.nan_to_num(concepts["score"].to_numpy(dtype=float) * 1000).round().astype(int)
    return [number[str(text)] for text in concepts["concept"]], scores.tolist()


def _unclear(concepts: pd.DataFrame | None) -> list[int]:
    return [] if concepts is None else np.flatnonzero(concepts["unclear"]).tolist()


def _verdict_and_truth(truth: Truth | None) -> tuple[str, str]:
    return (truth.verdict, readable(f"{truth.kind} {truth.value}", CHARACTERS)) if truth else ("", "")


def _correlation(explained: ExplainedEncoder, group: str) -> float | None:
    found = explained.tables.faithfulness.get(group, NOT_MEASURED)
    return round(found.correlation, 2) if found.measured else None
