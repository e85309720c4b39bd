"""Compute the words of each method that is compared, on the same crops, captions and vocabulary.

A result maps the name of a feature to its words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table
from falcon_dvc.concepts.scoring.contrasts import CONTRASTS
from falcon_dvc.concepts.scoring.corpus import Corpus, crop_embeddings, read_centre
from falcon_dvc.concepts.scoring.explanation import Captioned, ConceptSettings, explain

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Concepts

Words = dict[str, list[str]]


@dataclass(frozen=True)
class CaptionedCrops:
    """Hold the crops of single features with their captions.

    Attributes
    ----------
    groups : names of the features.
    crops : table of the crops (``group``, ``role``, ``rank``); `embeddings`, `captions`: the same rows.
    """

    groups: np.ndarray
    crops: pd.DataFrame
    embeddings: np.ndarray
    captions: Captioned

    def of_role(self, role: str) -> tuple[Captioned, np.ndarray]:
        """Return the captions of the crops of one role, and the group number of each crop."""
        rows = np.flatnonzero(self.crops["role"] == role)
        group = pd.Index(self.groups).get_indexer(self.crops["group"].iloc[rows])
        return Captioned(self.captions.captions[rows], self.captions.weights[rows]), group


def read_captioned_crops(name: str, corpus: Corpus, settings: Concepts) -> CaptionedCrops:
    """Read and caption the crops of an encoder's single features.

    The stage `mine_crops` wrote them.
    """
    groups = read_table(paths.groups(name) / "groups.parquet")
    single = groups.loc[groups["size"] == 1, "group"].to_numpy()
    crops = read_table(paths.crops(name) / "crops.parquet")
    rows = np.flatnonzero(crops["group"].isin(single))
    embeddings = crop_embeddings(name, corpus)[rows]
    centre = read_centre(settings, embeddings.shape[1])
    return caption_crops(single, crops.iloc[rows].reset_index(drop=True), embeddings, corpus, settings, centre)


def caption_crops(
    groups: np.ndarray,
    crops: pd.DataFrame,
    embeddings: np.ndarray,
    corpus: Corpus,
    settings: ConceptSettings,
    centre: np.ndarray | float = 0.0,
) -> CaptionedCrops:
    """Caption crops by the settings; `centre` is subtracted from the embeddings that captions are compared with."""
    return CaptionedCrops(groups, crops, embeddings, corpus.captioned(embeddings - centre, settings))


def falcon(captioned: CaptionedCrops, corpus: Corpus, settings: ConceptSettings, contrast: str | None = None) -> Words:
    """Compute the words of FALCON with a contrast, by default the contrast of the settings."""
    high, low, (random, _) = (captioned.of_role(role) for role in ("high", "low", "random"))
    return _by_falcon(high, low, random, captioned.groups, corpus, settings, contrast)


def by_contrast(captioned: CaptionedCrops, corpus: Corpus, settings: ConceptSettings) -> dict[str, Words]:
    """Compute the words of FALCON with every contrast."""
    return {f"falcon_{kind}": falcon(captioned, corpus, settings, kind) for kind in CONTRASTS}


def shuffled_activations(captioned: CaptionedCrops, corpus: Corpus, settings: ConceptSettings) -> Words:
    """Compute the words of FALCON on random images in place of the highly activating ones.

    Shuffled activations would select such images.
    """
    random, group = captioned.of_role("random")
    nothing = Captioned(random.captions[:0], random.weights[:0]), group[:0]
    return _by_falcon((random, group), nothing, random, captioned.groups, corpus, settings)


def _by_falcon(
    high: tuple[Captioned, np.ndarray],
    low: tuple[Captioned, np.ndarray],
    random: Captioned,
    groups: np.ndarray,
    corpus: Corpus,
    settings: ConceptSettings,
    contrast: str | None = None,
) -> Words:
    explanation = explain(high, low, random, corpus.mentions, len(groups), settings, contrast)
    kept = explanation.kept & ~corpus.mentions.phrase[explanation.scores.concept] & (explanation.rank < settings.top)
    order = np.flatnonzero(kept)[np.lexsort((explanation.rank[kept], explanation.scores.group[kept]))]
    words: Words = {group: [] for group in groups}
    for entry in order:
        words[groups[explanation.scores.group[entry]]].append(corpus.vocabulary[explanation.scores.concept[entry]])
    return words


def best_words(groups: np.ndarray, values: np.ndarray, vocabulary: np.ndarray, corpus: Corpus, top: int) -> Words:
    """Return the `top` words of each group with the largest values; equal values are in the order of the vocabulary.

    Parameters
    ----------
    values : (groups, words). vocabulary : the number of each word's concept.
    """
    best = np.argsort(-np.round(values, 9), axis=1, kind="stable")[:, :top]
    return {name: list(corpus.vocabulary[vocabulary[row]]) for name, row in zip(groups, best, strict=True)}


def words_of(corpus: Corpus) -> np.ndarray:
    """Return the numbers of the vocabulary's words, without phrases."""
    return np.flatnonzero(~corpus.mentions.phrase)


def most_frequent(captioned: CaptionedCrops, corpus: Corpus, top: int) -> Words:
    """Assign the corpus's most frequent words to every feature."""
    words = words_of(corpus)
    count = np.asarray(corpus.mentions.incidence.sum(axis=0)).reshape(-1)[words]
    return constant(captioned.groups, list(corpus.vocabulary[words[np.argsort(-count, kind="stable")[:top]]]))


def constant(groups: Iterable[str], words: list[str]) -> Words:
    """Assign the same words to every feature."""
    return {group: words for group in groups}


def best_constant(truth: pd.DataFrame, names: Mapping[tuple[str, str], set[str]], top: int) -> list[str]:
    """Return words for the most frequent truths.

    No explanation that ignores the feature can be right more often.
    """
    counts = truth.value_counts(["kind", "value"], sort=True).index[:top]
    return [sorted(names[attribute])[0] for attribute in counts]


def all_methods(captioned: CaptionedCrops, corpus: Corpus, settings: ConceptSettings) -> dict[str, Words]:
    """Compute the words of all methods that need only the crops of the run."""
    return {
        **by_contrast(captioned, corpus, settings),
        "most_frequent_word": most_frequent(captioned, corpus, settings.top),
        "shuffled_activations": shuffled_activations(captioned, corpus, settings),
    }
