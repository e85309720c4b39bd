"""Which features made a linear classifier wrong, and the classifier without them (claim C4).

The margin of a wrong class over the right one is linear in the features, so the share of each feature in it is known exactly: no
sampling, no approximation of gradients. What a feature is compared with (its reference) decides what counts as unusual.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.random import Generator
from scipy import sparse

Classes = Int[np.ndarray, " images"]


@dataclass(frozen=True)
class Blame:
    """What each feature did to the margin of the wrong class over the right one.

    Attributes
    ----------
    contributions : to the margin; a feature with a positive one is to blame.
    departure : of the feature from its reference; below 0 it is silent, and blamed for that.
    """

    contributions: Float[np.ndarray, "images features"]
    departure: Float[np.ndarray, "images features"]


def logits(
    features: Float[np.ndarray, "images features"],
    weights: Float[np.ndarray, "classes features"],
    bias: Float[np.ndarray, " classes"],
) -> Float[np.ndarray, "images classes"]:
    """Outputs of the classifier."""
    return features @ weights.T + bias


def margin(
    features: Float[np.ndarray, "images features"],
    weights: Float[np.ndarray, "classes features"],
    bias: Float[np.ndarray, " classes"],
    right: Classes,
    wrong: Classes,
) -> Float[np.ndarray, " images"]:
    """How far the wrong logit is above the right one; negative where the right one wins."""
    return ((weights[wrong] - weights[right]) * features).sum(axis=1) + bias[wrong] - bias[right]


def class_references(
    features: Float[np.ndarray, "images features"], right: Classes, found: Classes, classes: int
) -> Float[np.ndarray, "classes features"]:
    """Mean features of the images that are rightly assigned to each class; of all images for a class that has none (0 of none).

    Parameters
    ----------
    right, found : the class of each image, and the one that the classifier gives it.
    """
    hits = np.flatnonzero(right == found)
    count = np.bincount(right[hits], minlength=classes)
    members = sparse.csr_array((np.ones(len(hits)), (right[hits], hits)), shape=(classes, len(features)))
    average = members @ features.astype(np.float64) / np.maximum(count, 1)[:, None]
    every = features.sum(axis=0, dtype=np.float64) / max(len(features), 1)
    return np.where(count[:, None] > 0, average, every)


def blame(
    features: Float[np.ndarray, "images features"],
    weights: Float[np.ndarray, "classes features"],
    right: Classes,
    wrong: Classes,
    reference: Float[np.ndarray, "#images features"],
) -> Blame:
    """Contribution of each feature to the wrong logit against the right one: ``(W_wrong,j - W_right,j) (h_j - reference_j)``.

    The sum over the features is the margin of the image less the margin of its reference: everything is accounted for.

    Parameters
    ----------
    right, wrong : classes of each image.
    reference : what the features are compared with, one for all images or one for each.
    """
    departure = features - reference
    return Blame((weights[wrong] - weights[right]) * departure, departure)


def group_blame(
    contributions: Float[np.ndarray, "images features"], members: Float[sparse.csr_array, "groups features"]
) -> Float[np.ndarray, "images groups"]:
    """Blame of groups of features: the sum over their members."""
    return contributions @ members.T


def ranked(contributions: Float[np.ndarray, "images units"]) -> Int[np.ndarray, "images units"]:
    """Features, groups or concepts of each image, the most blamed first; of equal ones the first."""
    return np.argsort(-contributions, axis=1, kind="stable")


def concept_blame(
    blamed: Blame, concept: Int[np.ndarray, " features"]
) -> tuple[Float[np.ndarray, "images concepts"], Float[np.ndarray, "images concepts"]]:
    """Blame of concepts, the sum over the features that carry each; and the part of it from features that are silent.

    Parameters
    ----------
    concept : which concept each feature carries, numbered from 0.
    """
    count = int(concept.max(initial=-1)) + 1
    features = np.arange(len(concept))
    carries = sparse.csr_array((np.ones(len(concept)), (features, concept)), shape=(len(concept), count))
    return blamed.contributions @ carries, np.where(blamed.departure < 0, blamed.contributions, 0.0) @ carries


def first_named(
    concepts: Float[np.ndarray, "images concepts"], silent: Float[np.ndarray, "images concepts"]
) -> tuple[Classes, Bool[np.ndarray, " images"], Float[np.ndarray, " images"]]:
    """The most blamed concept of each image, whether rather its absence is blamed, and its share of all positive blame.

    Where nothing is blamed (no sum is positive) the concept is -1 and the share 0.
    """
    first = concepts.argmax(axis=1)
    images = np.arange(len(concepts))
    largest = concepts[images, first]
    total = np.maximum(concepts, 0).sum(axis=1)
    share = np.divide(largest, total, out=np.zeros(len(concepts)), where=total > 0)
    blamed = largest > 0
    return np.where(blamed, first, -1), blamed & (2 * silent[images, first] > largest), np.where(blamed, share, 0.0)


def shuffled(blamed: Blame, generator: Generator) -> Blame:
    """Null control: each image's blame, with the departure that it comes from, falls on features drawn at random."""
    order = generator.random(blamed.contributions.shape).argsort(axis=1)
    return Blame(*(np.take_along_axis(part, order, axis=1) for part in (blamed.contributions, blamed.departure)))


def by_concept(
    contributions: Float[np.ndarray, " features"], concept: Int[np.ndarray, " features"], limit: int
) -> Int[np.ndarray, " blamed"]:
    """At most `limit` features: all that carry the most blamed concept, the most blamed first, then those of the next.

    A concept whose features are not to blame in sum is left alone.
    """
    of_concept = np.bincount(concept, contributions)[concept]
    order = np.lexsort((np.arange(len(concept)), -contributions, concept, -of_concept))
    return order[of_concept[order] > 0][:limit]


def by_feature(contributions: Float[np.ndarray, " features"], limit: int) -> Int[np.ndarray, " blamed"]:
    """At most `limit` features, the most blamed first, whatever they carry."""
    order = np.argsort(-contributions, kind="stable")
    return order[contributions[order] > 0][:limit]


def switched_off(
    weights: Float[np.ndarray, "classes features"],
    bias: Float[np.ndarray, " classes"],
    features: Int[np.ndarray, " off"],
    references: Float[np.ndarray, "classes features"],
) -> tuple[Float[np.ndarray, "classes features"], Float[np.ndarray, " classes"]]:
    """The classifier that no longer looks at some features: each class takes them for what they are in its own reference.

    Fixing a feature at one value for all classes would keep the evidence of that value: a class that always saw the feature fire would
    lose, whatever the image shows. With a value for each class no class gains or loses on the images that it is used to.

    Parameters
    ----------
    features : which ones.
    references : as from `class_references`.
    """
    kept = weights.copy()
    kept[:, features] = 0.0
    return kept, bias + (weights[:, features] * references[:, features]).sum(axis=1)
