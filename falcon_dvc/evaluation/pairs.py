"""Measure whether pairs of features have a concept that no member has: chosen by their words, or because they fire together (claim C2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy import sparse

from falcon_dvc.concepts.words.sentences import AND
from falcon_dvc.evaluation.faithfulness import correlations_with_words
from falcon_dvc.evaluation.ground_truth import Attribute
from falcon_dvc.evaluation.group_selectivity import beside_control, compared
from falcon_dvc.evaluation.pair_choice import (
    common_images,
    different_words,
    disjoint_pairs,
    occurring_conjunctions,
    with_random_partners,
)
from falcon_dvc.evaluation.pair_labels import Half, gain_of_labels, halves, judged
from falcon_dvc.evaluation.statistics import bootstrap_weights, mean_with_interval, paired_difference

if TYPE_CHECKING:
    from falcon_dvc.params.schema import AnalyseGroups

# Of more features or images, as many are drawn: the pairs grow with the square of the features, the bootstrap with the images.
MOST_FEATURES, MOST_IMAGES = 2048, 20_000
SAME_WORDS = "control_same_words_gain"  # gain of a random partner with the label of the true pair
MEANS = {
    "gain": "mean",
    "own_word_gain": "mean",
    "beats_best_member": "share",
    "two_words": "share",
    "exact_pair": "share",
    "exact_conjunction": "share",
}


@dataclass(frozen=True)
class Explained:
    """Hold the explained features of an encoder on the probe images.

    Attributes
    ----------
    features : numbers of the features.
    first_words : first word of each; "" for a feature without one.
    activations, fires : (images, features).
    scores : ``s_x(w)``, sparse (images, words).
    words : the words.
    """

    features: Int[np.ndarray, " features"]
    first_words: np.ndarray
    activations: Float[np.ndarray, "images features"]
    fires: Bool[np.ndarray, "images features"]
    scores: sparse.csr_array
    words: np.ndarray

    def __post_init__(self) -> None:
        if len(self.features) != len(self.first_words) or len(self.words) != self.scores.shape[1]:
            raise ValueError("each feature needs a first word, and each column of scores a word")


@dataclass(frozen=True)
class Truth:
    """Hold what is known of a synthetic data set.

    Attributes
    ----------
    followed : the attribute that each explained feature follows.
    named : the attribute that each word names.
    together : the sets of two attributes that some image has.
    """

    followed: list[Attribute]
    named: dict[str, Attribute]
    together: set[frozenset[Attribute]]


def measured_pairs(
    explained: Explained, cofiring: list[list[int]], truth: Truth | None, settings: AnalyseGroups
) -> pd.DataFrame:
    """Choose pairs in each way of `analyse_groups.choice`, and measure them beside random partners; a row for each pair.

    Parameters
    ----------
    cofiring : members of the pairs that fire together beyond chance.
    truth : None if it is not known; then the columns on attributes are missing.
    """
    generator = np.random.default_rng(settings.seed)
    choosing, judging = halves_of(len(explained.activations), generator)
    weights = bootstrap_weights(len(judging), settings.bootstrap, generator)
    common = common_images(explained.fires[choosing])
    tables = []
    for choice in settings.choice:
        pairs, eligible = _chosen(choice, explained, cofiring, common, choosing, settings)
        partners = with_random_partners(pairs, eligible, np.random.default_rng([settings.seed, 1]))
        paired = partners[:, 1] >= 0
        measure = _Measure(explained, common, truth, choosing, judging, weights, settings)
        table, labels = measure.table(pairs)
        control = measure.control(partners[paired], labels[paired]).set_index(np.flatnonzero(paired))
        tables.append(table.assign(choice=choice).join(control))
    return pd.concat(tables, ignore_index=True)


def halves_of(images: int, generator: np.random.Generator) -> tuple[Int[np.ndarray, " half"], Int[np.ndarray, " half"]]:
    """Divide images at random into those that choose labels and those that judge them; rows, ascending."""
    order = generator.permutation(images)
    return np.sort(order[: images // 2]), np.sort(order[images // 2 :])


def _chosen(
    choice: str,
    explained: Explained,
    cofiring: list[list[int]],
    common: np.ndarray,
    choosing: np.ndarray,
    settings: AnalyseGroups,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose pairs as places among the explained features, and find the pairs that random partners may form."""
    place = pd.Index(explained.features)
    if choice == "cofiring":
        pairs = np.array([place.get_indexer(members) for members in cofiring], dtype=np.int64).reshape(-1, 2)
        return pairs[(pairs >= 0).all(axis=1)], ~np.eye(len(place), dtype=bool)
    known, number = np.unique(explained.first_words.astype(str), return_inverse=True)
    eligible = different_words(np.where(known[number] == "", -1, number))
    together = eligible & (common >= settings.least_common)
    if choice == "conjunction":
        together &= _conjunctions(explained, choosing, settings)
    return disjoint_pairs(together, settings.most_pairs, np.random.default_rng([settings.seed, 0])), eligible


def _conjunctions(explained: Explained, choosing: np.ndarray, settings: AnalyseGroups) -> np.ndarray:
    """Find the pairs of features whose first words occur together, by the images that choose labels."""
    column = pd.Index(explained.words).get_indexer(explained.first_words)
    known, word = np.unique(column, return_inverse=True)
    scores = explained.scores[choosing][:, np.maximum(known, 0)]
    correlation = correlations_with_words(explained.activations[choosing], scores.tocsc())
    present = (scores > 0).toarray()
    limits = (settings.least_common, settings.least_own, settings.most_other)
    return occurring_conjunctions(np.where(column < 0, -1, word), present, correlation, *limits)


@dataclass(frozen=True)
class _Measure:
    """Measure pairs of an encoder, all on the same images."""

    explained: Explained
    common: np.ndarray
    truth: Truth | None
    choosing: np.ndarray
    judging: np.ndarray
    weights: np.ndarray
    settings: AnalyseGroups

    def _halves(self, pairs: np.ndarray) -> tuple[Half, Half]:
        return halves(self.explained.activations, pairs, self.explained.scores, self.choosing, self.judging)

    def table(self, pairs: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
        """Label pairs on one half of the images and judge them on the other: a row for each pair, and numbers of its words."""
        settings, explained = self.settings, self.explained
        choose, judge = self._halves(pairs)
        rule = settings.candidates, settings.member_weight
        found = judged(choose, judge, *rule, self.weights, settings.confidence)
        words = explained.words[found.labels]
        table = pd.DataFrame(
            {
                "first": [f"f{feature}" for feature in explained.features[pairs[:, 0]]],
                "second": [f"f{feature}" for feature in explained.features[pairs[:, 1]]],
                "first_words": [AND.join(explained.first_words[pair]) for pair in pairs],
                "common_images": self.common[pairs[:, 0], pairs[:, 1]],
                "label": [AND.join(dict.fromkeys(label)) for label in words],
                "two_words": found.labels[:, 0] != found.labels[:, 1],
                "selectivity": found.gain.group,
                "member_selectivity": found.gain.member,
                **compared(found.gain),
                "own_word_gain": found.own_word_gain,
            }
        )
        table = table if self.truth is None else table.assign(**_against_truth(pairs, words, self.truth))
        return table, found.labels

    def control(self, partners: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
        """Measure pairs with random partners.

        The joint activation with a random partner has a label of its own, which may name it rightly. So the labels of the true
        pairs are judged too: they should neither name what a random partner follows, nor be followed as well.

        Parameters
        ----------
        labels : numbers of the words of the true pairs.
        """
        table, _ = self.table(partners)
        same = gain_of_labels(self._halves(partners)[1], labels, self.weights, self.settings.confidence)
        table = table.drop(columns="first").assign(same_words_gain=same.group - same.member)
        if self.truth is not None:
            table = table.assign(**_against_truth(partners, self.explained.words[labels], self.truth))
        return table.add_prefix("control_")


def _against_truth(pairs: np.ndarray, words: Iterable[Iterable[str]], truth: Truth) -> dict[str, list]:
    """Find whether the words of each label name exactly the attributes of the members.

    ``exact_pair`` is NaN if both members follow the same attribute, ``exact_conjunction`` also if no image has both.
    """
    followed = [(truth.followed[first], truth.followed[second]) for first, second in pairs]
    exact = [
        float({truth.named.get(word) for word in label} == set(both))
        for label, both in zip(words, followed, strict=True)
    ]
    differ, occur = ([len({*both}) > 1 for both in followed], [frozenset(both) in truth.together for both in followed])
    return {
        "attributes": [AND.join(value for _, value in dict.fromkeys(both)) for both in followed],
        "exact_pair": np.where(differ, exact, np.nan).tolist(),
        "exact_conjunction": np.where(np.logical_and(differ, occur), exact, np.nan).tolist(),
    }


def pair_metrics(table: pd.DataFrame, settings: AnalyseGroups) -> dict[str, Any]:
    """Compute the metrics of each choice of pairs: means, those of random partners, and their paired differences."""
    return {choice: _of_choice(table[table["choice"] == choice], settings) for choice in settings.choice}


def _of_choice(table: pd.DataFrame, settings: AnalyseGroups) -> dict[str, Any]:
    metrics: dict[str, Any] = {"pairs": len(table)}
    for name, kind in MEANS.items():
        if len(table) and name in table:
            metrics |= beside_control(name, kind, name, table, settings)
            both = table[[name, f"control_{name}"]].astype(float).dropna()
            own, control = both.to_numpy().T
            metrics |= _unless_empty(f"{name}_less_control", paired_difference(own, control, settings))
    return metrics | (_same_words(table, settings) if len(table) else {})


def _same_words(table: pd.DataFrame, settings: AnalyseGroups) -> dict[str, Any]:
    """Compare the gain of pairs with that of random partners with the same words."""
    own, control = table[["gain", SAME_WORDS]].astype(float).dropna().to_numpy().T
    return {
        **_unless_empty("gain_control_same_words", mean_with_interval(control, settings, "mean")),
        **_unless_empty("gain_less_control_same_words", paired_difference(own, control, settings)),
    }


def _unless_empty(name: str, metrics: dict[str, float]) -> dict[str, Any]:
    return {name: metrics} if metrics else {}
