"""Every way to put words to features that is compared, on the same crops, captions and vocabulary: name -> words of each feature."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table
from falcon_dvc.concepts.scoring.contrasts import CONTRASTS
from falcon_dvc.concepts.scoring.corpus import Corpus, crop_embeddings
from falcon_dvc.concepts.scoring.explanation import Captioned, ConceptSettings, explain
from falcon_dvc.evaluation.baselines import caption_means, soft_wpmi

Words = dict[str, list[str]]


@dataclass(frozen=True)
class Dissection:
    """Constants of soft-WPMI: sharpness of the softmax over concepts, and the discount of concepts that fit every feature."""

    sharpness: float
    discount: float


PUBLISHED = Dissection(10.0, 1.0)
# Best on the worlds that settings are chosen on (studies/, role selection), of 6 combinations.
TUNED = Dissection(30.0, 0.5)


@dataclass(frozen=True)
class Mined:
    """The crops of single features, captioned once.

    Attributes
    ----------
    groups : names of the features.
    crops : table of the crops (``group``, ``role``, ``rank``); `embeddings`, `captions`: the same rows.
    """

    groups: np.ndarray
    crops: pd.DataFrame
    embeddings: np.ndarray
    captions: Captioned

    def part(self, role: str) -> tuple[Captioned, np.ndarray]:
        """Captions of the crops of one role, and each crop's group number."""
        rows = np.flatnonzero(self.crops["role"] == role)
        group = pd.Index(self.groups).get_indexer(self.crops["group"].iloc[rows])
        return Captioned(self.captions.captions[rows], self.captions.weights[rows]), group


def read_mined(name: str, corpus: Corpus, settings: ConceptSettings) -> Mined:
    """The single features' crops of an encoder, as `mine_crops` left them."""
    groups = read_table(paths.groups(name) / "groups.parquet")
    single = groups.loc[groups["size"] == 1, "group"].to_numpy()
    crops = read_table(paths.crops(name) / "crops.parquet")
    rows = np.flatnonzero(crops["group"].isin(single))
    embeddings = crop_embeddings(name, corpus)[rows]
    return mined(single, crops.iloc[rows].reset_index(drop=True), embeddings, corpus, settings)


def mined(
    groups: np.ndarray, crops: pd.DataFrame, embeddings: np.ndarray, corpus: Corpus, settings: ConceptSettings
) -> Mined:
    """Caption some crops."""
    return Mined(groups, crops, embeddings, corpus.captioned(embeddings, settings))


def falcon(mined: Mined, corpus: Corpus, settings: ConceptSettings, contrast: str | None = None) -> Words:
    """FALCON with a contrast, by default that of the settings."""
    high, low, (random, _) = (mined.part(role) for role in ("high", "low", "random"))
    return _by_falcon(high, low, random, mined.groups, corpus, settings, contrast)


def by_contrast(mined: Mined, corpus: Corpus, settings: ConceptSettings) -> dict[str, Words]:
    """FALCON with every contrast there is."""
    return {f"falcon_{kind}": falcon(mined, corpus, settings, kind) for kind in CONTRASTS}


def shuffled_activations(mined: Mined, corpus: Corpus, settings: ConceptSettings) -> Words:
    """FALCON on random images in place of the highly activating ones: what shuffled activations would be explained by."""
    random, group = mined.part("random")
    nothing = Captioned(random.captions[:0], random.weights[:0]), group[:0]
    return _by_falcon((random, group), nothing, random, mined.groups, corpus, settings)


def _by_falcon(
    high: tuple[Captioned, np.ndarray],
    low: tuple[Captioned, np.ndarray],
    random: Captioned,
    groups: np.ndarray,
    corpus: Corpus,
    settings: ConceptSettings,
    contrast: str | None = None,
) -> Words:
    found = explain(high, low, random, corpus.mentions, len(groups), settings, contrast)
    kept = found.kept & ~corpus.mentions.phrase[found.scores.concept] & (found.rank < settings.top)
    order = np.flatnonzero(kept)[np.lexsort((found.rank[kept], found.scores.group[kept]))]
    words: Words = {group: [] for group in groups}
    for entry in order:
        words[groups[found.scores.group[entry]]].append(corpus.vocabulary[found.scores.concept[entry]])
    return words


def dissect(
    mined: Mined, corpus: Corpus, vocabulary: np.ndarray, directions: np.ndarray, top: int, constants: Dissection
) -> Words:
    """CLIP-Dissect's soft-WPMI over the same crops.

    Parameters
    ----------
    vocabulary : numbers of the concepts that may be named; `directions`: their unit text embeddings.
    """
    rows = np.flatnonzero(mined.crops["role"] == "high")
    group = pd.Index(mined.groups).get_indexer(mined.crops["group"].iloc[rows])
    rank = mined.crops["rank"].to_numpy()[rows]
    score = soft_wpmi(
        mined.embeddings[rows],
        group,
        rank,
        len(mined.groups),
        directions,
        sharpness=constants.sharpness,
        discount=constants.discount,
    )
    # Words that always stand together have one direction, and so one score, however a processor rounds their products.
    _, first, which = np.unique(directions, axis=0, return_index=True, return_inverse=True)
    best = np.argsort(-np.round(score[:, first[which]], 9), axis=1, kind="stable")[:, :top]
    return {name: list(corpus.vocabulary[vocabulary[row]]) for name, row in zip(mined.groups, best, strict=True)}


def words_of(corpus: Corpus) -> np.ndarray:
    """Numbers of the vocabulary's words (no phrases)."""
    return np.flatnonzero(~corpus.mentions.phrase)


def most_frequent(mined: Mined, corpus: Corpus, top: int) -> Words:
    """The corpus's most frequent words, for every feature."""
    words = words_of(corpus)
    count = np.asarray(corpus.mentions.incidence.sum(axis=0)).reshape(-1)[words]
    return constant(mined.groups, list(corpus.vocabulary[words[np.argsort(-count, kind="stable")[:top]]]))


def constant(groups: Iterable[str], words: list[str]) -> Words:
    """The same words for every feature."""
    return {group: words for group in groups}


def best_constant(truth: pd.DataFrame, names: Mapping[tuple[str, str], set[str]], top: int) -> list[str]:
    """The words of the most frequent truths: the best that any explanation can do that does not look at the feature."""
    counts = truth.value_counts(["kind", "value"], sort=True).index[:top]
    return [sorted(names[attribute])[0] for attribute in counts]


def all_methods(mined: Mined, corpus: Corpus, settings: ConceptSettings) -> dict[str, Words]:
    """All that need no more than the crops of the run."""
    words = words_of(corpus)
    directions = caption_means(corpus.embeddings, corpus.mentions.incidence, words)
    dissected = {"soft_wpmi": dissect(mined, corpus, words, directions, settings.top, PUBLISHED)}
    return {
        **by_contrast(mined, corpus, settings),
        **dissected,
        "most_frequent_word": most_frequent(mined, corpus, settings.top),
        "shuffled_activations": shuffled_activations(mined, corpus, settings),
    }
