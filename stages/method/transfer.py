"""Concept transfer (C5): a linear map from an unseen space to an explained one, by ridge regression in closed form."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.random import Generator


@dataclass(frozen=True)
class LinearMap:
    """``target ~ source @ weights + bias``."""

    weights: Float[np.ndarray, "source target"]
    bias: Float[np.ndarray, " target"]

    def __call__(self, source: Float[np.ndarray, "images source"]) -> Float[np.ndarray, "images target"]:
        return source @ self.weights + self.bias


@dataclass(frozen=True)
class Split:
    """Rows of the images that fit the map, choose lambda, and measure."""

    train: Int[np.ndarray, " train"]
    validation: Int[np.ndarray, " validation"]
    heldout: Int[np.ndarray, " heldout"]


def split_images(images: int, train: float, validation: float, generator: Generator) -> Split:
    """A random division of the images, each part in ascending order.

    Raises
    ------
    ValueError
        If a part would have fewer than two images.
    """
    first, second = round(train * images), round((train + validation) * images)
    if min(first, second - first, images - second) < 2:
        raise ValueError(f"{images} images are too few for a training, a validation and a held-out split")
    order = generator.permutation(images)
    return Split(np.sort(order[:first]), np.sort(order[first:second]), np.sort(order[second:]))


def ridge_maps(source: np.ndarray, target: np.ndarray, lambdas: tuple[float, ...]) -> list[LinearMap]:
    """Ridge regressions for all lambdas from one eigendecomposition: ``W = (X'X/n + lambda I)^-1 X'Y/n`` on centred data.

    Lambda is in units of the mean variance of the source's features, so that one grid fits spaces of any scale.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    source, target = source.astype(np.float64), target.astype(np.float64)
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise ValueError("features hold NaN or infinite values")
    centre, level = source.mean(axis=0), target.mean(axis=0)
    centred = source - centre
    covariance = centred.T @ centred / len(source)
    values, vectors = np.linalg.eigh(covariance)
    cross = vectors.T @ (centred.T @ (target - level) / len(source))
    scale = max(float(np.trace(covariance)) / len(covariance), 1e-12)
    weights = (vectors @ (cross / (np.maximum(values, 0) + scale * penalty)[:, None]) for penalty in lambdas)
    return [LinearMap(matrix, level - centre @ matrix) for matrix in weights]


def r_squared(target: np.ndarray, predicted: np.ndarray) -> Float[np.ndarray, " target"]:
    """Share of each feature's variance that is explained; NaN for a feature that is constant."""
    residual = np.square(target - predicted).sum(axis=0)
    total = np.square(target - target.mean(axis=0)).sum(axis=0)
    return 1 - np.divide(residual, total, out=np.full(len(total), np.nan), where=total > 1e-12)


def fit_map(
    source: np.ndarray, target: np.ndarray, split: Split, lambdas: tuple[float, ...]
) -> tuple[LinearMap, float]:
    """Ridge map fitted on the training split, lambda chosen by the mean squared error on the validation split."""
    maps = ridge_maps(source[split.train], target[split.train], lambdas)
    errors = [float(np.square(fitted(source[split.validation]) - target[split.validation]).mean()) for fitted in maps]
    best = int(np.argmin(errors))
    return maps[best], lambdas[best]


def permuted(split: Split, generator: Generator) -> Int[np.ndarray, " images"]:
    """Rows in which the training and validation targets are shuffled among themselves: the pairing of the null map."""
    rows = np.arange(len(split.train) + len(split.validation) + len(split.heldout))
    for part in (split.train, split.validation):
        rows[part] = generator.permutation(part)
    return rows


def cosines(first: np.ndarray, second: np.ndarray) -> Float[np.ndarray, " images"]:
    """Cosine of the rows; 0 where one of them is zero."""
    scale = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.divide((first * second).sum(axis=1), scale, out=np.zeros(len(first)), where=scale > 0)


def overlap(first: Int[np.ndarray, "groups k"], second: Int[np.ndarray, "groups k"]) -> Float[np.ndarray, " groups"]:
    """Share of each row's entries that are also in the other's row; entries below 0 stand for nothing."""
    same = (first[:, :, None] == second[:, None, :]) & (first[:, :, None] >= 0)
    return same.any(axis=2).sum(axis=1) / np.maximum((first >= 0).sum(axis=1), 1)
