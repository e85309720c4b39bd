"""Measure what a feature does: remove it, or add to it, and see what the outputs that depend on it do.

The features lead to the outputs by a linear map. An output is the logit of a class, or the cosine of the image's embedding
with a text. Everything is computed on arrays: no network runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int
from numpy.random import Generator

Amounts = Float[np.ndarray, " images"]
Directions = Float[np.ndarray, "directions dim"]


class Outputs(Protocol):
    """The interface of outputs that depend on features by a linear map.

    Attributes
    ----------
    directions : (features, dim) array
        What one unit of each feature adds, in the space that the outputs are read from.
    """

    @property
    def directions(self) -> Float[np.ndarray, "features dim"]: ...

    def falls(
        self, rows: Int[np.ndarray, " images"], amounts: Amounts, directions: Directions
    ) -> Float[np.ndarray, "directions outputs"]:
        """Compute the mean fall of each output over images from which an amount of a direction is removed."""
        ...

    def falls_by_image(
        self, rows: Int[np.ndarray, " images"], amounts: Amounts, direction: Float[np.ndarray, " dim"], output: int
    ) -> Float[np.ndarray, " images"]:
        """Compute the fall of one output on each image."""
        ...


@dataclass(frozen=True)
class Logits:
    """Outputs of a linear classifier. Each is compared with the mean of all classes: what moves all alike changes no decision.

    Attributes
    ----------
    weights : (classes, features) array
    """

    weights: Float[np.ndarray, "classes features"]

    @cached_property
    def directions(self) -> Float[np.ndarray, "features classes"]:
        """Return what one unit of each feature adds to each logit, less the mean over the classes."""
        weights = self.weights.astype(np.float64)
        return (weights - weights.mean(axis=0)).T

    def falls(
        self, rows: Int[np.ndarray, " images"], amounts: Amounts, directions: Directions
    ) -> Float[np.ndarray, "directions classes"]:
        """See `Outputs`."""
        return amounts.mean() * directions

    def falls_by_image(
        self, rows: Int[np.ndarray, " images"], amounts: Amounts, direction: Float[np.ndarray, " dim"], output: int
    ) -> Float[np.ndarray, " images"]:
        """See `Outputs`."""
        return amounts * direction[output]


@dataclass(frozen=True)
class Cosines:
    """Cosines of the images' embeddings with texts.

    Attributes
    ----------
    embeddings : (images, dim) array
        Not scaled: what the features lead to.
    directions : (features, dim) array
        The linear map.
    texts : (texts, dim) array
        Unit rows.
    """

    embeddings: Float[np.ndarray, "images dim"]
    directions: Float[np.ndarray, "features dim"]
    texts: Float[np.ndarray, "texts dim"]

    @cached_property
    def _dots(self) -> Float[np.ndarray, "images texts"]:
        return self.embeddings @ self.texts.T

    @cached_property
    def _lengths(self) -> Float[np.ndarray, " images"]:
        return np.linalg.norm(self.embeddings, axis=1)

    def falls(
        self, rows: Int[np.ndarray, " images"], amounts: Amounts, directions: Directions
    ) -> Float[np.ndarray, "directions texts"]:
        """See `Outputs`."""
        dots, inverse = self._dots[rows], _inverse(self._lengths[rows])
        shorter = _inverse(self._lengths_without(rows, amounts, directions))
        kept = shorter.T @ dots - (amounts @ shorter)[:, None] * (directions @ self.texts.T)
        return inverse @ dots / len(rows) - kept / len(rows)

    def falls_by_image(
        self, rows: Int[np.ndarray, " images"], amounts: Amounts, direction: Float[np.ndarray, " dim"], output: int
    ) -> Float[np.ndarray, " images"]:
        """See `Outputs`."""
        dots, shorter = self._dots[rows, output], self._lengths_without(rows, amounts, direction[None])[:, 0]
        kept = dots - amounts * (direction @ self.texts[output])
        return dots * _inverse(self._lengths[rows]) - kept * _inverse(shorter)

    def _lengths_without(self, rows: np.ndarray, amounts: Amounts, directions: Directions) -> np.ndarray:
        """Compute the lengths of the embeddings without an amount of each direction: (images, directions)."""
        along = self.embeddings[rows] @ directions.T
        squared = self._lengths[rows, None] ** 2 - 2 * amounts[:, None] * along
        return np.sqrt(np.maximum(squared + amounts[:, None] ** 2 * (directions**2).sum(axis=1), 0))


def _inverse(lengths: np.ndarray) -> np.ndarray:
    """Return 1 / length; 0 for an embedding of length 0, whose cosines are 0."""
    return np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)


@dataclass(frozen=True)
class Ablated:
    """Hold what the removal of each feature does to the outputs, and what random directions do.

    Attributes
    ----------
    falls : (features, outputs) array
        Mean fall of each output when the feature is removed from its strongest images.
    random_changes, p_values : (features, outputs) arrays
        Mean size of the output's change by random directions, and how often one of them lowers it as much.
    most : (features,) integer array
        The output that falls most.
    fall, fall_low, fall_high : (features,) arrays
        Its mean fall, with the interval over images.
    random_fall : (features,) array
        Mean over random directions of the largest fall, if as much of the direction is removed.
    p_value : (features,) array
        How often a random direction makes some output fall as much.
    rise : (features,) array
        Rise of the same output if the feature is increased on all images.
    """

    falls: Float[np.ndarray, "features outputs"]
    random_changes: Float[np.ndarray, "features outputs"]
    p_values: Float[np.ndarray, "features outputs"]
    most: Int[np.ndarray, " features"]
    fall: Float[np.ndarray, " features"]
    fall_low: Float[np.ndarray, " features"]
    fall_high: Float[np.ndarray, " features"]
    random_fall: Float[np.ndarray, " features"]
    p_value: Float[np.ndarray, " features"]
    rise: Float[np.ndarray, " features"]


@dataclass(frozen=True)
class Removal:
    """Say how features are removed and increased.

    Attributes
    ----------
    level, spread : (features,) arrays
        A removed feature is set to its level. A feature is increased by its spread.
    images : int
        A feature is removed from this many images with its largest activations.
    directions : (draws, features) array
        Random unit directions of the feature space, from `random_directions`.
    weights : (samples, images) array
        Bootstrap samples of the images, whose rows sum to 1.
    confidence : float
    """

    level: Float[np.ndarray, " features"]
    spread: Float[np.ndarray, " features"]
    images: int
    directions: Float[np.ndarray, "draws features"]
    weights: Float[np.ndarray, "samples images"]
    confidence: float


def random_directions(draws: int, features: int, generator: Generator) -> Float[np.ndarray, "draws features"]:
    """Draw unit directions of the feature space, each equally likely."""
    drawn = generator.normal(size=(draws, features))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def strongest(activations: Float[np.ndarray, " images"], count: int) -> Int[np.ndarray, " strongest"]:
    """Return the rows of the largest activations, the largest first; of equal ones the first comes first."""
    return np.argsort(-activations, kind="stable")[:count]


def ablated(
    features: Float[np.ndarray, "images features"],
    chosen: Int[np.ndarray, " chosen"],
    outputs: Outputs,
    removal: Removal,
) -> Ablated:
    """Remove each chosen feature from its strongest images, and increase it on all images.

    The control removes as much of random directions from the same images. Its largest fall over all outputs is compared,
    because the output of the feature is the one that falls most, too.

    Parameters
    ----------
    features : of held-out images.
    chosen : numbers of the features.
    """
    rows = list(_each(features, chosen, outputs, removal))
    columns = zip(*rows, strict=True) if rows else ((),) * 10
    return Ablated(*map(np.array, columns))


def _each(features: np.ndarray, chosen: np.ndarray, outputs: Outputs, removal: Removal) -> Iterator[tuple]:
    """Yield the numbers of `Ablated` for each feature."""
    random, every = removal.directions @ outputs.directions, np.arange(len(features))
    for feature in chosen:
        rows, direction = strongest(features[:, feature], removal.images), outputs.directions[feature]
        amounts = features[rows, feature].astype(np.float64) - removal.level[feature]
        falls = outputs.falls(rows, amounts, direction[None])[0]
        most = int(falls.argmax())
        low, high = _interval(outputs.falls_by_image(rows, amounts, direction, most), removal)
        by_chance = outputs.falls(rows, np.abs(amounts), random)
        p_values, p_value = (_p_values(*pair) for pair in ((by_chance, falls), (by_chance.max(axis=1), falls[most])))
        added = np.full(len(features), -removal.spread[feature])
        rise = -outputs.falls(every, added, direction[None])[0, most]
        changes = np.abs(by_chance).mean(axis=0)
        yield falls, changes, p_values, most, falls[most], low, high, by_chance.max(axis=1).mean(), p_value, rise


def _p_values(by_chance: np.ndarray, falls: np.ndarray) -> np.ndarray:
    """Compute how often a random direction makes an output fall at least as much."""
    return (1 + (by_chance >= falls).sum(axis=0)) / (len(by_chance) + 1)


def _interval(falls: Float[np.ndarray, " images"], removal: Removal) -> tuple[float, float]:
    """Compute the percentile interval of the mean over images."""
    reach = [0.5 - removal.confidence / 2, 0.5 + removal.confidence / 2]
    low, high = np.quantile(removal.weights @ falls, reach)
    return float(low), float(high)


def own_and_others(
    falls: Float[np.ndarray, "features outputs"], own: Int[np.ndarray, " features"]
) -> tuple[Float[np.ndarray, " features"], Float[np.ndarray, " features"]]:
    """Compare the output that a feature's own word names with those that the words of the other features name.

    Parameters
    ----------
    own : output that the word of each feature names; -1 if it names none.

    Returns
    -------
    own, others
        Fall of the own output, and mean fall of the outputs of all other features' words; NaN for a feature whose word
        names no output, and where no other word does.
    """
    named = own >= 0
    count = np.bincount(own[named], minlength=falls.shape[1])
    at_own = np.where(named, falls[np.arange(len(own)), own], np.nan) if falls.size else np.full(len(own), np.nan)
    others = int(named.sum()) - 1
    mean = (falls @ count - at_own) / others if others > 0 else np.full(len(own), np.nan)
    return at_own, np.where(named, mean, np.nan)
