"""Tables of explanations, from the method's arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc.concepts.scoring.contrasts import CONTRASTS
from falcon_dvc.concepts.scoring.corpus import Corpus
from falcon_dvc.concepts.scoring.explanation import Captioned, Explanation
from falcon_dvc.concepts.scoring.scores import interval

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Concepts

CAPTIONS_AT_ONCE = 65_536  # retrieved, whose mentions are in memory


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
            "reason": np.where(explanation.kept, "", CONTRASTS[settings.contrast].reason),
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
    listed = table.loc[table["kept"], ["group", "concept"]].drop_duplicates()
    entries = _mentions_listed(crops["group"], captions, corpus, listed)
    best = entries.sort_values(["crop", "concept", "weight", "caption"], ascending=[True, True, False, True])
    joined = listed.merge(best.drop_duplicates(["crop", "concept"]), on=["group", "concept"], how="inner", sort=False)
    boxes = crops.iloc[joined["crop"]][["image", "left", "top", "right", "bottom"]].reset_index(drop=True)
    return pd.concat([joined[["group", "concept"]], boxes, joined[["caption", "weight"]]], axis=1)


def _mentions_listed(group: pd.Series, captions: Captioned, corpus: Corpus, listed: pd.DataFrame) -> pd.DataFrame:
    """One row for each mention of a concept in a retrieved caption of a crop, if it is listed for the crop's group.

    A crop's captions mention many times what is listed, so mentions are looked through a part after the other.
    """
    crop, slot = np.nonzero(captions.captions >= 0)
    groups, concepts = pd.Index(listed["group"].unique()), pd.Index(listed["concept"].unique())
    of_crop, of_concept = groups.get_indexer(group), concepts.get_indexer(corpus.vocabulary)
    wanted = np.zeros((len(groups) + 1, len(concepts) + 1), dtype=bool)  # the last of each stands for those not listed
    wanted[groups.get_indexer(listed["group"]), concepts.get_indexer(listed["concept"])] = True
    found = [np.zeros((2, 0), dtype=np.int64)]
    for start in range(0, len(crop), CAPTIONS_AT_ONCE):
        part = slice(start, start + CAPTIONS_AT_ONCE)
        places = np.searchsorted(corpus.mentions.captions, captions.captions[crop[part], slot[part]])
        row, concept = corpus.mentions.incidence[places].tocoo().coords
        kept = wanted[of_crop[crop[part][row]], of_concept[concept]]
        found.append(np.array([start + row[kept], concept[kept]]))
    row, concept = np.concatenate(found, axis=1)
    crop, slot = crop[row], slot[row]
    return pd.DataFrame(
        {
            "group": group.to_numpy()[crop],
            "concept": corpus.vocabulary[concept],
            "crop": crop,
            "caption": captions.captions[crop, slot],
            "weight": captions.weights[crop, slot],
        }
    )
