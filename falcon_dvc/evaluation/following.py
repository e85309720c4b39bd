"""Rank the words of a feature by how well they follow it over all probe images, and not on its own crops alone.

The value of a word w for feature j is

    r(a_j, s(w)) + v * r(a_j, p(w)) + u * n_j(w)

with a_j the activation, s_x(w) the score of w by the captions of image x, p_x(w) the softmax over words of the cosine of
image and word, and n_j(w) the cosine of the word with the mean of the strongest images (`falcon_dvc.evaluation.rivals.nearest_text`).
The score of w on the feature's crops, after the contrast, may be added: crops show what a caption of the whole image leaves out.
Captions bring companions of the right word along ("man", "play"); a direct comparison of images and words does not. A phrase
has the first term alone. For a group of features, the activation is the mean of its members.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.special import ndtri, softmax

from falcon_dvc.concepts.scoring.explanation import Captioned, Explanation, Ranked, Ranking, explain_crops
from falcon_dvc.evaluation.faithfulness import FEATURES_AT_ONCE, correlations_with_words
from falcon_dvc.evaluation.rivals import nearest_text
from falcon_dvc.evaluation.statistics import CONSTANT, standardised

if TYPE_CHECKING:
    from falcon_dvc.concepts.scoring.scores import ConceptScores, Mentions
    from falcon_dvc.params.schema import Concepts

IMAGES_AT_ONCE = 1024  # images whose probabilities of all words are in memory

Activations = Float[np.ndarray, "images groups"]


def correlations_of_entries(
    activations: Activations,
    scores: sparse.csr_array,
    group: Int[np.ndarray, " entries"],
    concept: Int[np.ndarray, " entries"],
) -> Float[np.ndarray, " entries"]:
    """Compute the correlation of each entry's group with the scores of its concept.

    Parameters
    ----------
    scores : ``s_x(w)`` of the same images, sparse (images, concepts).
    """
    used, place = np.unique(concept, return_inverse=True)
    columns, found = sparse.csc_array(scores)[:, used], np.zeros(len(group))
    for start in range(0, activations.shape[1], FEATURES_AT_ONCE):
        block = slice(start, start + FEATURES_AT_ONCE)
        here = np.flatnonzero((group >= start) & (group < start + FEATURES_AT_ONCE))
        found[here] = correlations_with_words(activations[:, block], columns)[group[here] - start, place[here]]
    return found


def correlations_with_probabilities(
    activations: Activations,
    images: Float[np.ndarray, "images dim"],
    words: Float[np.ndarray, "words dim"],
    sharpness: float,
) -> Float[np.ndarray, "groups words"]:
    """Compute the correlation of each group with the probability of each word; 0 where either is constant.

    Parameters
    ----------
    images, words : unit embeddings; the mean of each is subtracted, so that the gap between images and texts does not decide.
    sharpness : factor of the cosines in the softmax over words.
    """
    standard, count = standardised(activations), len(activations)
    images, words = images - images.mean(axis=0), words - words.mean(axis=0)
    product, mean, square = np.zeros((standard.shape[1], len(words))), np.zeros(len(words)), np.zeros(len(words))
    for start in range(0, count, IMAGES_AT_ONCE):
        rows = slice(start, start + IMAGES_AT_ONCE)
        probability = softmax(sharpness * (images[rows] @ words.T), axis=1)
        product += standard[rows].T @ probability
        mean += probability.sum(axis=0) / count
        square += np.square(probability).sum(axis=0) / count
    variance = np.maximum(square - mean**2, 0.0)
    return np.divide(product / count, np.sqrt(variance), out=np.zeros_like(product), where=variance > CONSTANT * square)


def values_of_entries(
    of_captions: Float[np.ndarray, " entries"],
    of_words: Float[np.ndarray, "groups words"],
    words: Int[np.ndarray, " words"],
    group: Int[np.ndarray, " entries"],
    concept: Int[np.ndarray, " entries"],
) -> Float[np.ndarray, " entries"]:
    """Add what a word's own embedding tells to the correlation with captions.

    Parameters
    ----------
    words : the concept of each column of `of_words`; other concepts have the first term alone.
    """
    column = np.full(max(words.max(initial=-1), concept.max(initial=-1)) + 1, -1)
    column[words] = np.arange(len(words))
    has = column[concept] >= 0
    values = of_captions.copy()
    values[has] += of_words[group[has], column[concept[has]]]
    return values


def largest_by_chance(images: int, concepts: int, confidence: float) -> float:
    """Compute the correlation that the best of many unrelated concepts stays below, with this confidence.

    A correlation of unrelated values is about normal with variance 1/images. The number of concepts is accounted for
    (Bonferroni).
    """
    return float(-ndtri((1 - confidence) / max(concepts, 1)) / np.sqrt(max(images, 1)))


@dataclass(frozen=True)
class Following:
    """Tells how well concepts follow groups of features over the probe images.

    Attributes
    ----------
    activations : of each group, (images, groups).
    scores : ``s_x(w)`` of the same images, sparse (images, concepts).
    words : concepts that have a text embedding; `texts`: these embeddings.
    images : embeddings of the images.
    word_weight, nearest_weight : of the second and the third term.
    sharpness : see `correlations_with_probabilities`.
    """

    activations: Activations
    scores: sparse.csr_array
    words: Int[np.ndarray, " words"]
    images: Float[np.ndarray, "images dim"]
    texts: Float[np.ndarray, "words dim"]
    word_weight: float
    nearest_weight: float
    sharpness: float

    @cached_property
    def of_words(self) -> Float[np.ndarray, "groups words"] | None:
        """The second and the third term of every word; None if both weights are 0."""
        if not self.word_weight and not self.nearest_weight:
            return None
        value = np.zeros((self.activations.shape[1], len(self.words)))
        if self.word_weight:
            of_words = correlations_with_probabilities(self.activations, self.images, self.texts, self.sharpness)
            value += self.word_weight * of_words
        if self.nearest_weight:
            value += self.nearest_weight * nearest_text(self.images, self.activations, self.texts)
        return value

    def ranking(self, score_weight: float, confidence: float) -> Ranking:
        """Return the function that adds the scores on crops, with this weight, to the values of entries.

        An entry is weak if its correlation with captions is no larger than chance makes the largest one of all concepts.
        """
        chance = largest_by_chance(len(self.activations), len(np.unique(self.scores.indices)), confidence)

        def ranked(scores: ConceptScores, value: Float[np.ndarray, " entries"]) -> Ranked:
            group, concept = scores.group, scores.concept
            of_captions = correlations_of_entries(self.activations, self.scores, group, concept)
            return Ranked(self._with_words(of_captions, group, concept) + score_weight * value, of_captions <= chance)

        return ranked

    def values(
        self, group: Int[np.ndarray, " entries"], concept: Int[np.ndarray, " entries"]
    ) -> Float[np.ndarray, " entries"]:
        """Compute the value of each entry."""
        of_captions = correlations_of_entries(self.activations, self.scores, group, concept)
        return self._with_words(of_captions, group, concept)

    def _with_words(
        self,
        of_captions: Float[np.ndarray, " entries"],
        group: Int[np.ndarray, " entries"],
        concept: Int[np.ndarray, " entries"],
    ) -> Float[np.ndarray, " entries"]:
        if self.of_words is None:
            return of_captions
        return values_of_entries(of_captions, self.of_words, self.words, group, concept)

    def best_words(self, count: int) -> tuple[Int[np.ndarray, " entries"], Int[np.ndarray, " entries"]]:
        """List the `count` words of the largest value for each group, as groups and concepts of entries."""
        columns = sparse.csc_array(self.scores)[:, self.words]
        best = [np.zeros((0, min(count, len(self.words))), dtype=np.int64)]
        for start in range(0, self.activations.shape[1], FEATURES_AT_ONCE):
            block = slice(start, start + FEATURES_AT_ONCE)
            values = correlations_with_words(self.activations[:, block], columns)
            values += 0.0 if self.of_words is None else self.of_words[block]
            best.append(np.argsort(-values, axis=1, kind="stable")[:, :count])
        places = np.concatenate(best)
        return np.repeat(np.arange(len(places)), places.shape[1]), self.words[places].reshape(-1)


def explain_by(
    following: Following | None,
    captions: Captioned,
    group: Int[np.ndarray, " crops"],
    role: np.ndarray,
    mentions: Mentions,
    groups: int,
    settings: Concepts,
) -> Explanation:
    """Explain crops as `explain_crops`, and rank the concepts by how well they follow the group if `following` is given."""
    if following is None:
        return explain_crops(captions, group, role, mentions, groups, settings)
    more = following.best_words(settings.top) if settings.words_from == "corpus" else None
    ranking = following.ranking(settings.score_weight, settings.confidence)
    return explain_crops(captions, group, role, mentions, groups, settings, more, ranking)
