"""Build the tables of explanations from arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from falcon_dvc.concepts.scoring.contrasts import CONTRASTS
from falcon_dvc.concepts.scoring.corpus import Corpus
from falcon_dvc.concepts.scoring.explanation import Captioned, Explanation
from falcon_dvc.concepts.scoring.scores import interval

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Concepts

UNMENTIONED = "captions of the look-alike images name it, those of the crops do not"  # words of the corpus, of concepts.words_from
CAPTIONS_AT_ONCE = 65_536  # retrieved captions whose mentions are in memory


def concept_table(explanation: Explanation, corpus: Corpus, groups: np.ndarray, settings: Concepts) -> pd.DataFrame:
    """List the `top` kept words and phrases of each group, and the `top` removed by the contrast.

    The columns are described in docs/artifacts.md.
    """
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
            "weak": is_weak(explanation, low),
            "kept": explanation.kept,
            "reason": _reasons(explanation, CONTRASTS[settings.contrast].why(settings)),
            "order": scores.group,
        }
    )
    table = table[table["rank"] <= settings.top]
    return (
        table.sort_values(["order", "kept", "kind", "rank"], ascending=[True, False, False, True], kind="stable")
        .drop(columns="order")
        .reset_index(drop=True)
    )


def _reasons(explanation: Explanation, why: str) -> np.ndarray:
    """Say why each removed concept is removed; "" for the kept ones."""
    mentioned = explanation.scores.support > 0
    return np.where(explanation.kept, "", np.where(mentioned, why, UNMENTIONED))


def is_weak(explanation: Explanation, interval_low: Float[np.ndarray, " entries"]) -> Bool[np.ndarray, " entries"]:
    """Tell which concepts may be chance.

    By Eq. 1 these are the concepts whose interval reaches the score on random crops, or is not known. A ranking over all
    images knows better (`falcon_dvc.evaluation.following.Following.ranking`).
    """
    if explanation.weak is not None:
        return explanation.weak
    return ~(interval_low > explanation.scores.prior)


def evidence_table(table: pd.DataFrame, crops: pd.DataFrame, captions: Captioned, corpus: Corpus) -> pd.DataFrame:
    """List the crops of each listed concept, with box and the best caption that mentions the concept."""
    listed = table.loc[table["kept"], ["group", "concept"]].drop_duplicates()
    entries = _mentions_listed(crops["group"], captions, corpus, listed)
    best = entries.sort_values(["crop", "concept", "weight", "caption"], ascending=[True, True, False, True])
    joined = listed.merge(best.drop_duplicates(["crop", "concept"]), on=["group", "concept"], how="inner", sort=False)
    boxes = crops.iloc[joined["crop"]][["image", "left", "top", "right", "bottom"]].reset_index(drop=True)
    return pd.concat([joined[["group", "concept"]], boxes, joined[["caption", "weight"]]], axis=1)


def _mentions_listed(group: pd.Series, captions: Captioned, corpus: Corpus, listed: pd.DataFrame) -> pd.DataFrame:
    """List the mentions of listed concepts in the retrieved captions of crops.

    A concept must be listed for the crop's group. The captions of a crop mention listed concepts many times. So the
    captions are searched in blocks, to bound the memory.
    """
    crop, slot = np.nonzero(captions.captions >= 0)
    groups, concepts = pd.Index(listed["group"].unique()), pd.Index(listed["concept"].unique())
    of_crop, of_concept = groups.get_indexer(group), concepts.get_indexer(corpus.vocabulary)
    wanted = np.zeros(
        (len(groups) + 1, len(concepts) + 1), dtype=bool
    )  # the last row and column stand for groups and concepts not listed
    wanted[groups.get_indexer(listed["group"]), concepts.get_indexer(listed["concept"])] = True
    entries = [np.zeros((2, 0), dtype=np.int64)]
    for start in range(0, len(crop), CAPTIONS_AT_ONCE):
        block = slice(start, start + CAPTIONS_AT_ONCE)
        places = np.searchsorted(corpus.mentions.captions, captions.captions[crop[block], slot[block]])
        row, concept = corpus.mentions.incidence[places].tocoo().coords
        kept = wanted[of_crop[crop[block][row]], of_concept[concept]]
        entries.append(np.array([start + row[kept], concept[kept]]))
    row, concept = np.concatenate(entries, axis=1)
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
