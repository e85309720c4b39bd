"""Label pairs of features by one word or two on some images, and judge the label on others (claim C2).

The label comes from the joint activation of the pair and from the activations of its members. The words that are listed for
the members have no part in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from falcon_dvc.evaluation.conjunction import Gain, gain_of_scores
from falcon_dvc.evaluation.faithfulness import correlations_with_words, scores_of
from falcon_dvc.evaluation.statistics import CONSTANT, standardised, weighted_correlations

Activations = Float[np.ndarray, "images features"]
Joint = Float[np.ndarray, "images pairs"]
Pairs = Int[np.ndarray, "pairs 2"]
Labels = Int[np.ndarray, "pairs 2"]

DIGITS = 12  # correlations that differ by less are equal, and the earlier word is chosen


@dataclass(frozen=True)
class Half:
    """Hold one half of the images: the joint activation of pairs, the activations of their members, and scores of words.

    Attributes
    ----------
    joint : joint activation of each pair, (images, pairs).
    members : activations of the two members, (images, pairs, 2).
    scores : ``s_x(w)`` of each word, sparse (images, words).
    """

    joint: Joint
    members: Float[np.ndarray, "images pairs 2"]
    scores: sparse.csc_array


@dataclass(frozen=True)
class Judged:
    """Hold what the labels of one half are worth on the other half.

    Attributes
    ----------
    labels : two words for each pair; twice the same word if one word is the label.
    gain : correlation of the joint activation with the label, compared with that of the best member with the same label.
    own_word_gain : the same difference, but each member is compared with the word that fits it best.
    """

    labels: Labels
    gain: Gain
    own_word_gain: Float[np.ndarray, " pairs"]


def halves(
    activations: Activations,
    pairs: Pairs,
    scores: sparse.csr_array,
    choosing: Int[np.ndarray, " chosen"],
    judging: Int[np.ndarray, " judged"],
) -> tuple[Half, Half]:
    """Select the two halves of the images for some pairs.

    The joint activation is the product of what both members exceed their means by, in standard deviations, and 0 if
    one does not exceed it. Means and deviations are those of the choosing half.

    Parameters
    ----------
    choosing, judging : rows of the images that choose labels, and of those that judge them.
    """
    members = activations[:, pairs].astype(np.float64)
    mean, deviation = members[choosing].mean(axis=0), members[choosing].std(axis=0)
    varies = deviation > CONSTANT * np.abs(members[choosing]).max(axis=0)
    excess = np.divide(members - mean, deviation, out=np.zeros_like(members), where=varies)
    joint = np.maximum(excess, 0.0).prod(axis=2)
    choose, judge = (Half(joint[rows], members[rows], scores[rows].tocsc()) for rows in (choosing, judging))
    return choose, judge


def joint_scores(scores: sparse.csc_array, labels: Labels) -> Joint:
    """Compute the score of each label: the geometric mean of its words' scores. Of a single word it is its own score."""
    return np.sqrt(scores_of(scores, labels[:, 0]) * scores_of(scores, labels[:, 1]))


def chosen_labels(half: Half, candidates: int, member_weight: float) -> Labels:
    """Choose for each pair the one or two words that fit its joint activation and its members best.

    The fit is the correlation of the label's score with the joint activation, plus `member_weight` times the correlation of
    the two members with a word each (`correlation_of_members`). The joint activation alone is large on few images, so a
    label chosen by it alone often fits one member and chance.

    Parameters
    ----------
    candidates : words that correlate most by themselves; one or two of these become the label.
    member_weight : 0 for the joint activation alone.

    Returns
    -------
    The word that correlates more with the joint activation by itself first; twice the same word if it fits better than any two.
    """
    single = np.round(correlations_with_words(half.joint, half.scores), DIGITS)
    members = _correlations_of_members(half)
    likely = np.argsort(-single, axis=1, kind="stable")[:, :candidates]
    first, second = np.triu_indices(likely.shape[1])
    labels = np.zeros((len(likely), 2), dtype=np.int64)
    for pair, words in enumerate(likely):
        options = np.column_stack([words[first], words[second]])
        together = standardised(joint_scores(half.scores, options)).T @ standardised(half.joint[:, pair])
        of_members = correlation_of_members(members[0, pair], members[1, pair], options)
        fit = together / len(half.joint) + member_weight * of_members
        labels[pair] = options[np.round(fit, DIGITS).argmax()]
    return labels


def _correlations_of_members(half: Half) -> Float[np.ndarray, "2 pairs words"]:
    """Compute the correlation of both members of each pair with the score of each word."""
    return np.stack([correlations_with_words(half.members[:, :, place], half.scores) for place in (0, 1)])


def correlation_of_members(
    first: Float[np.ndarray, " words"], second: Float[np.ndarray, " words"], labels: Int[np.ndarray, "labels 2"]
) -> Float[np.ndarray, " labels"]:
    """Give each member one of the two words of a label; return the smaller of both correlations, under the better assignment.

    Parameters
    ----------
    first, second : correlation of each member with each word.
    """
    one, other = labels.T
    return np.maximum(np.minimum(first[one], second[other]), np.minimum(first[other], second[one]))


def best_words(half: Half) -> Labels:
    """Choose for each member of each pair the word whose score correlates most with its activation."""
    return np.round(_correlations_of_members(half), DIGITS).argmax(axis=2).T


def judged(
    choose: Half,
    judge: Half,
    candidates: int,
    member_weight: float,
    weights: Float[np.ndarray, "samples images"],
    confidence: float,
) -> Judged:
    """Choose the labels of pairs on one half of the images, and compare pairs with their best members on the other.

    Parameters
    ----------
    candidates, member_weight : see `chosen_labels`.
    weights : bootstrap samples of the judging images, see `statistics.bootstrap_weights`.
    """
    labels = chosen_labels(choose, candidates, member_weight)
    gain = gain_of_labels(judge, labels, weights, confidence)
    own = np.stack([scores_of(judge.scores, word) for word in best_words(choose).T], axis=2)
    of_members = weighted_correlations(judge.members, own, np.full((1, len(own)), 1 / len(own)))[0]
    return Judged(labels, gain, gain.group - of_members.max(axis=1, initial=-1))


def gain_of_labels(
    judge: Half, labels: Labels, weights: Float[np.ndarray, "samples images"], confidence: float
) -> Gain:
    """Compare how well the joint activations and the best members of pairs follow given labels.

    Parameters
    ----------
    weights : bootstrap samples of the images, see `statistics.bootstrap_weights`.
    """
    return gain_of_scores(judge.joint, judge.members, joint_scores(judge.scores, labels), weights, confidence)
