"""Measure whether a group predicts its concept better than its best member does (claim C2)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.random import Generator

from falcon_dvc.evaluation.statistics import weighted_correlations

Activations = Float[np.ndarray, "images features"]
Sets = Int[np.ndarray, "groups size"]


@dataclass(frozen=True)
class Gain:
    """Hold the selectivity of groups and of their best members, for the same labels and images.

    Attributes
    ----------
    group : Pearson correlation of each group's activation with its label.
    member : correlation of its best member.
    best : place of this member in the set.
    low, high : paired bootstrap interval of the difference, group less best member.
    """

    group: Float[np.ndarray, " groups"]
    member: Float[np.ndarray, " groups"]
    best: Int[np.ndarray, " groups"]
    low: Float[np.ndarray, " groups"]
    high: Float[np.ndarray, " groups"]


def conjunction(
    activations: Activations, sets: Sets, thresholds: Float[np.ndarray, " features"]
) -> Float[np.ndarray, "images groups"]:
    """Compute the activation of groups as AND: the smallest activation of the members.

    Each activation is in units of its firing threshold. The result is at least 1 exactly where all members fire.

    Raises
    ------
    ValueError
        If a member's threshold is not positive, so that it cannot serve as a unit.
    """
    if not (thresholds[sets] > 0).all():
        raise ValueError(
            "a firing threshold is not positive; the conjunction is defined for features that are not negative"
        )
    return (activations[:, sets] / thresholds[sets]).min(axis=2)


def gain_over_best_member(
    activations: Activations,
    sets: Sets,
    thresholds: Float[np.ndarray, " features"],
    labels: Bool[np.ndarray, "images groups"],
    weights: Float[np.ndarray, "samples images"],
    confidence: float,
) -> Gain:
    """Compute how much better a group predicts its label than its best member, with intervals over images.

    Every bootstrap sample chooses the best member again and compares it on the same images.

    Parameters
    ----------
    labels : whether each image shows the attribute that each group is named after.
    weights : bootstrap samples, see `statistics.bootstrap_weights`.
    """
    joint = conjunction(activations, sets, thresholds)
    return gain_of_scores(joint, activations[:, sets], labels.astype(np.float64), weights, confidence)


def gain_of_scores(
    joint: Float[np.ndarray, "images groups"],
    members: Float[np.ndarray, "images groups size"],
    labels: Float[np.ndarray, "images groups"],
    weights: Float[np.ndarray, "samples images"],
    confidence: float,
) -> Gain:
    """Compute how much better the joint activation of groups predicts their labels than the best member does.

    Every bootstrap sample chooses the best member again and compares it on the same images.

    Parameters
    ----------
    joint, members : activations of the groups and of their members.
    labels : a number for each image and group, for instance 1 for images that show an attribute.
    weights : bootstrap samples, see `statistics.bootstrap_weights`.
    """
    scores = np.concatenate([joint[:, :, None], members], axis=2)
    own = weighted_correlations(scores, labels[:, :, None], np.full((1, len(labels)), 1 / len(labels)))[0]
    drawn = weighted_correlations(scores, labels[:, :, None], weights)
    low, high = np.quantile(
        drawn[:, :, 0] - drawn[:, :, 1:].max(axis=2), [0.5 - confidence / 2, 0.5 + confidence / 2], axis=0
    )
    return Gain(own[:, 0], own[:, 1:].max(axis=1), own[:, 1:].argmax(axis=1), low, high)


def random_partners(
    sets: Sets, best: Int[np.ndarray, " groups"], features: Bool[np.ndarray, " features"], generator: Generator
) -> Sets:
    """Replace all members but the best one by random features from outside the group.

    The size of the group stays the same.

    Parameters
    ----------
    best : place of the member that stays.
    features : which features may be drawn.

    Raises
    ------
    ValueError
        If there are not enough features outside a group.
    """
    size = sets.shape[1]
    draw = np.where(features, generator.random((len(sets), len(features))), np.inf)
    np.put_along_axis(draw, sets, np.inf, axis=1)
    if (np.isfinite(draw).sum(axis=1) < size - 1).any():
        raise ValueError(f"fewer than {size - 1} features outside a group to draw from")
    partners = np.argsort(draw, axis=1, kind="stable")[:, : size - 1]
    return np.column_stack([sets[np.arange(len(sets)), best], partners])
