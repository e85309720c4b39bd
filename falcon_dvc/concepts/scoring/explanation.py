"""Turn crop embeddings into ranked concepts (steps 8 to 12), without files."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from falcon_dvc.concepts.retrieval.nearest import (
    Retrieved,
    Shard,
    corpus_weights,
    nearest_captions,
    released_retrieval,
    retrieved_weights,
)
from falcon_dvc.concepts.scoring import scores as scoring
from falcon_dvc.concepts.scoring.contrasts import CONTRASTS, Constants, contrasted
from falcon_dvc.concepts.scoring.scores import ConceptScores, Entries, Mentions


class ConceptSettings(Constants, Protocol):
    """Describe the constants of steps 8 to 12; the section `concepts` of params.yaml explains each."""

    @property
    def captions_per_image(self) -> int: ...
    @property
    def temperature(self) -> float: ...
    @property
    def normaliser(self) -> str: ...
    @property
    def contrast(self) -> str: ...
    @property
    def top(self) -> int: ...


@dataclass(frozen=True)
class Settings:
    """Hold the same constants as plain values, for use without params.yaml."""

    captions_per_image: int
    temperature: float
    normaliser: str
    contrast: str
    low_cut: float
    relative_cut: float
    gamma: float
    further_cut: float
    top: int


@dataclass(frozen=True)
class Explanation:
    """Hold the ranked concepts of every group.

    Attributes
    ----------
    scores : one entry for each group and concept.
    value : value that the entry is ranked by.
    kept : False if the contrast removed the entry.
    rank : from 0, among the kept (or the removed) words or noun phrases of its group.
    weak : True if the entry may be chance; None if its interval over the crops tells.
    """

    scores: ConceptScores
    value: Float[np.ndarray, " entries"]
    kept: Bool[np.ndarray, " entries"]
    rank: Int[np.ndarray, " entries"]
    weak: Bool[np.ndarray, " entries"] | None = None


class Ranked(NamedTuple):
    """Hold the value that each entry is ranked by, and whether it may be chance."""

    value: Float[np.ndarray, " entries"]
    weak: Bool[np.ndarray, " entries"] | None


# From the scores and the values after the contrast to what concepts are ranked by.
Ranking = Callable[[ConceptScores, Float[np.ndarray, " entries"]], Ranked]


@dataclass(frozen=True)
class Captioned:
    """Hold retrieved captions of crops and their weights p(c | x)."""

    captions: Int[np.ndarray, "crops k"]
    weights: Float[np.ndarray, "crops k"]


def captioned(
    crops: Float[np.ndarray, "crops dim"],
    corpus: Callable[[], Iterable[Shard]],
    settings: ConceptSettings,
    known: Retrieved | None = None,
) -> Captioned:
    """Retrieve the captions of each crop (step 8), by the normaliser of the settings.

    Parameters
    ----------
    known : captions retrieved from other shards, see `nearest_captions`; not used for the normaliser shard.
    """
    k, temperature = settings.captions_per_image, settings.temperature
    if settings.normaliser == "shard":
        return Captioned(*released_retrieval(crops, corpus(), k, temperature))
    retrieved = nearest_captions(crops, corpus(), k, summed_at(settings), known)
    return weighted(retrieved, settings)


def summed_at(settings: ConceptSettings) -> float | None:
    """Return the temperature at which retrieval sums over the whole corpus.

    It is None if the normaliser needs no such sum.
    """
    return settings.temperature if settings.normaliser == "corpus" else None


def weighted(retrieved: Retrieved, settings: ConceptSettings) -> Captioned:
    """Weight retrieved captions, by a normaliser other than shard."""
    weights = corpus_weights if settings.normaliser == "corpus" else retrieved_weights
    return Captioned(retrieved.captions, weights(retrieved, settings.temperature))


def explain(
    high: tuple[Captioned, Int[np.ndarray, " crops"]],
    low: tuple[Captioned, Int[np.ndarray, " crops"]],
    random: Captioned,
    mentions: Mentions,
    groups: int,
    settings: ConceptSettings,
    contrast: str | None = None,
    more: Entries | None = None,
    ranking: Ranking | None = None,
) -> Explanation:
    """Score the concepts of each group's highly activating crops, contrast and rank them (steps 10 to 12).

    Parameters
    ----------
    high, low : captions of the highly and lowly activating crops with each crop's group.
    random : captions of random crops.
    contrast : a key of `CONTRASTS`; the contrast of the settings if not given.
    more : groups and concepts that are scored even if no highly activating crop mentions them. No contrast has anything to
        compare then, so those that a lowly activating crop mentions are removed, also by the contrast off.
    ranking : what to rank by; by default the values of the contrast.
    """
    high_scores, low_scores, random_scores = (
        scoring.crop_scores(captions.captions, captions.weights, mentions) for captions in (high[0], low[0], random)
    )
    scores = scoring.score_concepts(high_scores, high[1], low_scores, low[1], random_scores, groups, more)
    of_low = scoring.extracted(low_scores, low[1], groups, mentions.phrase, settings.top)
    also_low = scoring.values_at(of_low, scores.group, scores.concept) > 0
    kind = contrast or settings.contrast
    value, kept = contrasted(scores, kind, settings, also_low)
    kept = np.where(scores.support > 0, kept, scores.low == 0)
    ranked = Ranked(value, None) if ranking is None else ranking(scores, value)
    return ranked_by(ranked, scores, kept, mentions, CONTRASTS[kind].keeps_first)


def ranked_by(
    ranked: Ranked,
    scores: ConceptScores,
    kept: Bool[np.ndarray, " entries"],
    mentions: Mentions,
    keeps_first: bool = False,
) -> Explanation:
    """Rank the entries of each group by a value, words and noun phrases apart, the largest first.

    Parameters
    ----------
    kept : entries that the contrast keeps; with `keeps_first`, the first word and the first phrase of a group stay too.
    """
    phrase = mentions.phrase[scores.concept].astype(int)
    if keeps_first:
        kept = kept | (scoring.ranks_within(scores.group, phrase, value=ranked.value, tie=scores.concept) == 0)
    rank = scoring.ranks_within(scores.group, phrase, ~kept, value=ranked.value, tie=scores.concept)
    return Explanation(scores, ranked.value, kept, rank, ranked.weak)


def explain_crops(
    captions: Captioned,
    group: Int[np.ndarray, " crops"],
    role: np.ndarray,
    mentions: Mentions,
    groups: int,
    settings: ConceptSettings,
    more: Entries | None = None,
    ranking: Ranking | None = None,
) -> Explanation:
    """Divide crops by role and explain them, as `explain`.

    Parameters
    ----------
    captions : captions of all crops.
    group : each crop's group.
    role : each crop's role: ``high``, ``low`` or ``random``.
    """
    by_role = {name: np.flatnonzero(role == name) for name in ("high", "low", "random")}
    of_role = {name: Captioned(captions.captions[rows], captions.weights[rows]) for name, rows in by_role.items()}
    high, low = ((of_role[name], group[by_role[name]]) for name in ("high", "low"))
    return explain(high, low, of_role["random"], mentions, groups, settings, more=more, ranking=ranking)
