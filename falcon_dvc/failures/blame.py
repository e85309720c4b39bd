"""Compute which features made a linear classifier wrong, and the classifier without them (claim C4).

The margin of a wrong class over the right one is linear in the features. So the share of each feature is exact,
without sampling and without an approximation of gradients. The reference of a feature decides which values count as
unusual.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.random import Generator
from scipy import sparse

Classes = Int[np.ndarray, " images"]


@dataclass(frozen=True)
class Blame:
    """Hold the contribution of each feature to the margin of the wrong class over the right one.

    Attributes
    ----------
    contributions : contributions to the margin; a feature with a positive one is to blame.
    departure : feature minus its reference; below 0 the feature is silent, and its absence is blamed.
    """

    contributions: Float[np.ndarray, "images features"]
    departure: Float[np.ndarray, "images features"]


def logits(
    features: Float[np.ndarray, "images features"],
    weights: Float[np.ndarray, "classes features"],
    bias: Float[np.ndarray, " classes"],
) -> Float[np.ndarray, "images classes"]:
    """Compute the outputs of the classifier."""
    return features @ weights.T + bias


def margin(
    features: Float[np.ndarray, "images features"],
    weights: Float[np.ndarray, "classes features"],
    bias: Float[np.ndarray, " classes"],
    right: Classes,
    wrong: Classes,
) -> Float[np.ndarray, " images"]:
    """Compute the wrong logit minus the right one; negative if the right class wins."""
    return ((weights[wrong] - weights[right]) * features).sum(axis=1) + bias[wrong] - bias[right]


def class_references(
    features: Float[np.ndarray, "images features"], right: Classes, predicted: Classes, classes: int
) -> Float[np.ndarray, "classes features"]:
    """Compute the mean features of the images that are rightly assigned to each class.

    A class without such images gets the mean of all images, or 0 if there are no images.

    Parameters
    ----------
    right, predicted : class of each image, and the class that the classifier predicts.
    """
    hits = np.flatnonzero(right == predicted)
    count = np.bincount(right[hits], minlength=classes)
    members = sparse.csr_array((np.ones(len(hits)), (right[hits], hits)), shape=(classes, len(features)))
    average = members @ features.astype(np.float64) / np.maximum(count, 1)[:, None]
    overall = features.sum(axis=0, dtype=np.float64) / max(len(features), 1)
    return np.where(count[:, None] > 0, average, overall)


def blame(
    features: Float[np.ndarray, "images features"],
    weights: Float[np.ndarray, "classes features"],
    right: Classes,
    wrong: Classes,
    reference: Float[np.ndarray, "#images features"],
) -> Blame:
    """Compute the contribution of each feature to the margin: ``(W_wrong,j - W_right,j) (h_j - reference_j)``.

    The sum over the features is the margin of the image minus the margin of its reference.

    Parameters
    ----------
    right, wrong : classes of each image.
    reference : reference of the features, one for all images or one for each image.
    """
    departure = features - reference
    return Blame((weights[wrong] - weights[right]) * departure, departure)


def group_blame(
    contributions: Float[np.ndarray, "images features"], members: Float[sparse.csr_array, "groups features"]
) -> Float[np.ndarray, "images groups"]:
    """Sum the blame over the members of each group of features."""
    return contributions @ members.T


def ranked(contributions: Float[np.ndarray, "images units"]) -> Int[np.ndarray, "images units"]:
    """Rank the features, groups or concepts of each image, the most blamed first.

    Of equal ones, the first comes first.
    """
    return np.argsort(-contributions, axis=1, kind="stable")


def concept_blame(
    blamed: Blame, concept: Int[np.ndarray, " features"]
) -> tuple[Float[np.ndarray, "images concepts"], Float[np.ndarray, "images concepts"]]:
    """Sum the blame over the features of each concept; also return the part from silent features.

    Parameters
    ----------
    concept : number of each feature's concept, from 0.
    """
    count = int(concept.max(initial=-1)) + 1
    features = np.arange(len(concept))
    belongs = sparse.csr_array((np.ones(len(concept)), (features, concept)), shape=(len(concept), count))
    return blamed.contributions @ belongs, np.where(blamed.departure < 0, blamed.contributions, 0.0) @ belongs


def first_named(
    concepts: Float[np.ndarray, "images concepts"], silent: Float[np.ndarray, "images concepts"]
) -> tuple[Classes, Bool[np.ndarray, " images"], Float[np.ndarray, " images"]]:
    """Find the most blamed concept of each image, whether its absence is blamed, and its share of all positive blame.

    If no concept has positive blame, the concept is -1 and the share is 0.
    """
    first = concepts.argmax(axis=1)
    images = np.arange(len(concepts))
    largest = concepts[images, first]
    total = np.maximum(concepts, 0).sum(axis=1)
    share = np.divide(largest, total, out=np.zeros(len(concepts)), where=total > 0)
    blamed = largest > 0
    return np.where(blamed, first, -1), blamed & (2 * silent[images, first] > largest), np.where(blamed, share, 0.0)


def shuffled(blamed: Blame, generator: Generator) -> Blame:
    """Assign the blame of each image to features drawn at random (null control).

    The departure of a contribution moves with it.
    """
    order = generator.random(blamed.contributions.shape).argsort(axis=1)
    return Blame(*(np.take_along_axis(values, order, axis=1) for values in (blamed.contributions, blamed.departure)))


def by_concept(
    contributions: Float[np.ndarray, " features"], concept: Int[np.ndarray, " features"], limit: int
) -> Int[np.ndarray, " blamed"]:
    """Select at most `limit` features, concept by concept, the most blamed concept first.

    The features of a concept come in the order of their blame. A concept without positive blame in sum is skipped.
    """
    of_concept = np.bincount(concept, contributions)[concept]
    order = np.lexsort((np.arange(len(concept)), -contributions, concept, -of_concept))
    return order[of_concept[order] > 0][:limit]


def by_feature(contributions: Float[np.ndarray, " features"], limit: int) -> Int[np.ndarray, " blamed"]:
    """Select at most `limit` features, the most blamed first, whatever their concepts are."""
    order = np.argsort(-contributions, kind="stable")
    return order[contributions[order] > 0][:limit]


def switched_off(
    weights: Float[np.ndarray, "classes features"],
    bias: Float[np.ndarray, " classes"],
    features: Int[np.ndarray, " off"],
    references: Float[np.ndarray, "classes features"],
) -> tuple[Float[np.ndarray, "classes features"], Float[np.ndarray, " classes"]]:
    """Return the classifier with features switched off.

    Each class replaces these features by their values in its own reference. One value for all classes would keep the
    evidence of this value. A class that expects the feature to fire would then lose, whatever the image shows. With a
    value for each class, no class gains or loses on its own reference images.

    Parameters
    ----------
    features : numbers of the features to switch off.
    references : result of `class_references`.
    """
    kept = weights.copy()
    kept[:, features] = 0.0
    return kept, bias + (weights[:, features] * references[:, features]).sum(axis=1)
