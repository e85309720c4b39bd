"""Tables of explanations, from the method's arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stages.common.corpus import Corpus
from stages.method.concepts import interval
from stages.method.explanation import Captioned, Explanation

if TYPE_CHECKING:
    from stages.common.params import Concepts

REASONS = {
    "paper": "also a concept of the lowly activating images",
    "released": "its low score reaches low_cut",
    "relative": "its low score is at least relative_cut times its score",
    "graded": "no higher than gamma times its score on the lowly activating images",
    "prior": "no higher than on random crops",
    "both": "no higher than gamma times its score on the lowly activating images, or than on random crops",
    "off": "",
}


def concept_table(explanation: Explanation, corpus: Corpus, groups: np.ndarray, settings: Concepts) -> pd.DataFrame:
    """The `top` kept words and phrases of each group, and the `top` that the contrast removed; see docs/artifacts.md."""
    scores = explanation.scores
    low, high = interval(scores.score, scores.error, settings.confidence)
    table = pd.DataFrame(
        {
            "group": groups[scores.group],
            "kind": np.where(corpus.mentions.phrase[scores.concept], "phrase", "word"),
            "rank": explanation.rank + 1,
            "concept": corpus.vocabulary[scores.concept],
            "value": explanation.value,
            "score": scores.score,
            "low_score": scores.low,
            "prior": scores.prior,
            "interval_low": low,
            "interval_high": high,
            "support": scores.support,
            "kept": explanation.kept,
            "reason": np.where(explanation.kept, "", REASONS[settings.contrast]),
            "order": scores.group,
        }
    )
    table = table[table["rank"] <= settings.top]
    return (
        table.sort_values(["order", "kept", "kind", "rank"], ascending=[True, False, False, True], kind="stable")
        .drop(columns="order")
        .reset_index(drop=True)
    )


def evidence_table(table: pd.DataFrame, crops: pd.DataFrame, captions: Captioned, corpus: Corpus) -> pd.DataFrame:
    """For each concept listed: the crops it comes from, with box, and each one's best caption that mentions it."""
    crop, slot = np.nonzero(captions.captions >= 0)
    caption = captions.captions[crop, slot]
    boxes = crops.iloc[crop][["group", "image", "left", "top", "right", "bottom"]].reset_index(drop=True)
    found = boxes.assign(caption=caption, weight=captions.weights[crop, slot], crop=crop)
    incidence = corpus.mentions.incidence[np.searchsorted(corpus.mentions.captions, caption)].tocoo()
    rows, concept = incidence.coords
    entries = found.iloc[rows].assign(concept=corpus.vocabulary[concept])
    best = entries.sort_values(
        ["crop", "concept", "weight", "caption"], ascending=[True, True, False, True], kind="stable"
    )
    best = best.drop_duplicates(["crop", "concept"])
    listed = table.loc[table["kept"], ["group", "concept"]].drop_duplicates()
    joined = listed.merge(best, on=["group", "concept"], how="inner", sort=False)
    return joined[["group", "concept", "image", "left", "top", "right", "bottom", "caption", "weight"]].reset_index(
        drop=True
    )


def in_words(table: pd.DataFrame, kind: str = "word") -> pd.Series:
    """Kept concepts of one kind for people: group -> ``boat:0.91; ship:0.40``."""
    kept = table[table["kept"] & (table["kind"] == kind)].sort_values("rank", kind="stable")
    text = kept["concept"] + ":" + kept["score"].map("{:.2f}".format)
    return text.groupby(kept["group"], sort=False).agg("; ".join)


def first_concepts(table: pd.DataFrame) -> pd.Series:
    """First kept word of each group."""
    first = table[table["kept"] & (table["kind"] == "word") & (table["rank"] == 1)]
    return first.set_index("group")["concept"]
