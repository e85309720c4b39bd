"""Explain the facets of features: Eq. 1 on the crops of each facet, against the same lowly activating and random crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc.concepts.scoring.corpus import Corpus
from falcon_dvc.concepts.scoring.explanation import Captioned, explain
from falcon_dvc.concepts.scoring.scores import crop_scores
from falcon_dvc.concepts.scoring.tables import concept_table
from falcon_dvc.concepts.words.listing import in_words
from falcon_dvc.crops.facets import facets_of, most_typical
from falcon_dvc.evaluation.word_sets import WordSets
from falcon_dvc.members import as_text

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Concepts


@dataclass(frozen=True)
class CaptionedCrops:
    """Hold the crops of an encoder: their table, and embeddings and captions of the same rows."""

    table: pd.DataFrame
    embeddings: np.ndarray
    captions: Captioned

    def captions_of(self, rows: np.ndarray) -> Captioned:
        """Return the captions of the crops at `rows`."""
        return Captioned(self.captions.captions[rows], self.captions.weights[rows])

    def of_role(self, role: str) -> pd.DataFrame:
        """List the crops of one role: ``group``, ``rank`` and ``crop`` (row)."""
        return self.table.loc[self.table["role"] == role, ["group", "rank"]].rename_axis("crop").reset_index()


def facet_table(
    features: np.ndarray, sets: WordSets, crops: CaptionedCrops, corpus: Corpus, settings: Concepts, least: float
) -> pd.DataFrame:
    """List the facets of each feature, the largest first; a feature that follows one thing has one.

    Parameters
    ----------
    features : names of the features, in the order of `sets`.
    sets : the words that each feature follows, as numbers of concepts of the corpus.
    settings : section ``concepts`` of params.yaml.
    least : see `crops.facets.facets_of`.

    Returns
    -------
    One row for each facet: ``group``, ``facet`` (from 1), ``crops`` (their number), ``share`` (of the feature's crops),
    ``words`` ("red:0.91; boat:0.40") and ``ranks`` (of its crops among the feature's, the most typical first, as a text).
    """
    rows = _facets_of_crops(features, sets, crops, corpus, least)
    facets = rows.groupby(["group", "facet"], sort=False)["rank"].agg(crops="size", ranks=as_text).reset_index()
    facets = facets.assign(number=np.arange(len(facets)))
    share = facets["crops"] / facets.groupby("group", sort=False)["crops"].transform("sum")
    words = facets["number"].map(_words(facets, rows, crops, corpus, settings)).fillna("")
    table = facets.assign(facet=facets["facet"] + 1, share=share, words=words)
    return table[["group", "facet", "crops", "share", "words", "ranks"]]


def _facets_of_crops(
    features: np.ndarray, sets: WordSets, crops: CaptionedCrops, corpus: Corpus, least: float
) -> pd.DataFrame:
    """List the highly activating crops of each feature by facet: ``group``, ``facet`` (from 0), ``rank``, ``crop`` (row)."""
    of_group = dict(list(crops.of_role("high").groupby("group", sort=False)))
    parts = [
        _clustered(of_group[feature], words[:count], crops, corpus, least)
        for feature, words, count in zip(features, sets.words, sets.count, strict=True)
        if feature in of_group
    ]
    return pd.concat([crops.of_role("high").head(0).assign(facet=0), *parts], ignore_index=True)


def _clustered(
    rows: pd.DataFrame, words: np.ndarray, crops: CaptionedCrops, corpus: Corpus, least: float
) -> pd.DataFrame:
    """Cluster the crops of one feature, and order them by facet, the most typical first."""
    crop = rows["crop"].to_numpy()
    captions, embeddings = crops.captions_of(crop), crops.embeddings[crop].astype(np.float64)
    scores = crop_scores(captions.captions, captions.weights, corpus.mentions)[:, words].toarray()
    facet = facets_of(embeddings, scores, least)
    return rows.assign(facet=facet).iloc[most_typical(embeddings, facet)]


def _words(
    facets: pd.DataFrame, rows: pd.DataFrame, crops: CaptionedCrops, corpus: Corpus, settings: Concepts
) -> pd.Series:
    """Write the words of each facet by its number, ranked as those of a group; the low crops are those of its feature."""
    high = rows.merge(facets[["group", "facet", "number"]], on=["group", "facet"], how="left")
    low = crops.of_role("low").merge(facets[["group", "number"]], on="group", how="inner")
    random = crops.captions_of(crops.of_role("random")["crop"].to_numpy())
    of_high, of_low = (
        (crops.captions_of(part["crop"].to_numpy()), part["number"].to_numpy(dtype=int)) for part in (high, low)
    )
    explanation = explain(of_high, of_low, random, corpus.mentions, len(facets), settings)
    return in_words(concept_table(explanation, corpus, facets["number"].to_numpy(), settings))
