"""Fit a linear map from an unseen space to an explained one (claim C5), by ridge regression in closed form.

Sources: section 3 of the method. For maps of limited rank: Mukherjee and Zhu, "Reduced rank ridge regression and its
kernel extensions", Statistical Analysis and Data Mining 4 (2011), 612-622.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from numpy.random import Generator

CONSTANT = 1e-20  # a variance below this share of the mean square is rounding


@dataclass(frozen=True)
class LinearMap:
    """Map features of one space to another: ``target ~ source @ weights + bias``."""

    weights: Float[np.ndarray, "source target"]
    bias: Float[np.ndarray, " target"]

    def __call__(self, source: Float[np.ndarray, "images source"]) -> Float[np.ndarray, "images target"]:
        return source @ self.weights + self.bias


@dataclass(frozen=True)
class Split:
    """Hold the rows of the images that fit the map, choose lambda, and measure."""

    train: Int[np.ndarray, " train"]
    validation: Int[np.ndarray, " validation"]
    heldout: Int[np.ndarray, " heldout"]


def split_images(images: int, train: float, validation: float, generator: Generator) -> Split:
    """Divide the images at random, each split in ascending order.

    Raises
    ------
    ValueError
        If a split would have fewer than two images.
    """
    first, second = round(train * images), round((train + validation) * images)
    if min(first, second - first, images - second) < 2:
        raise ValueError(f"{images} images are too few for a training, a validation and a held-out split")
    order = generator.permutation(images)
    return Split(np.sort(order[:first]), np.sort(order[first:second]), np.sort(order[second:]))


@dataclass(frozen=True)
class Components:
    """Hold the principal components of the training images of a source.

    Attributes
    ----------
    centre : mean feature.
    variances : variance along each component, descending, none zero.
    vectors : unit vectors, one column a component.
    scale : mean variance of the features, the unit of lambda.
    """

    centre: Float[np.ndarray, " source"]
    variances: Float[np.ndarray, " components"]
    vectors: Float[np.ndarray, "source components"]
    scale: float

    def scores(self, source: Float[np.ndarray, "images source"]) -> Float[np.ndarray, "images components"]:
        """Compute the coordinates of images along the components."""
        return (source - self.centre) @ self.vectors

    def damping(self, penalty: float) -> Float[np.ndarray, "components 1"]:
        """Return ``X'X/n + lambda I``, which is diagonal along the components."""
        return (self.variances + penalty * self.scale)[:, None]


def principal_components(source: Float[np.ndarray, "images source"]) -> Components:
    """Compute principal components by one eigendecomposition of the smaller of ``X'X`` and ``XX'``."""
    centre = source.mean(axis=0)
    powers, vectors = right_singular(source - centre)
    return Components(centre, powers / len(source), vectors, float(powers.sum() / source.size))


def right_singular(
    matrix: Float[np.ndarray, "rows columns"],
) -> tuple[Float[np.ndarray, " rank"], Float[np.ndarray, "columns rank"]]:
    """Compute squared singular values, descending, and right singular vectors.

    Singular values that are zero up to rounding are left out.
    """
    wide = matrix.shape[0] < matrix.shape[1]
    powers, vectors = np.linalg.eigh(matrix @ matrix.T if wide else matrix.T @ matrix)
    kept = powers > powers.max(initial=0) * max(matrix.shape) * np.finfo(float).eps
    powers, vectors = powers[kept][::-1], vectors[:, kept][:, ::-1]
    return powers, matrix.T @ (vectors / np.sqrt(powers)) if wide else vectors


@dataclass(frozen=True)
class Units:
    """Scale each feature by its mean and standard deviation on the training split (1 for a constant feature).

    In these units, no feature has more weight because its numbers are larger.
    """

    level: Float[np.ndarray, " target"]
    spread: Float[np.ndarray, " target"]

    def __call__(self, target: Float[np.ndarray, "images target"]) -> Float[np.ndarray, "images target"]:
        return (target - self.level) / self.spread


def units_of(features: Float[np.ndarray, "images target"]) -> Units:
    """Compute the units of a training split."""
    variance = features.var(axis=0)
    varies = variance > CONSTANT * np.square(features).mean(axis=0)
    return Units(features.mean(axis=0), np.sqrt(np.where(varies, variance, 1)))


@dataclass(frozen=True)
class RidgeFit:
    """Hold the ridge regression of one target, ``W = (X'X/n + lambda I)^-1 X'Y/n`` on centred data.

    Attributes
    ----------
    components : components of the source.
    units : units of the target.
    cross : X'Y/n along the components, in these units.
    penalty : lambda.
    """

    components: Components
    units: Units
    cross: Float[np.ndarray, "components target"]
    penalty: float

    @cached_property
    def directions(self) -> Float[np.ndarray, "target rank"]:
        """Compute orthonormal directions of the target, in the order of their share of the fitted values.

        The first r directions minimise the ridge loss among all maps of rank r (Mukherjee and Zhu). The fitted values
        there include the rows that the penalty appends to the data.
        """
        return right_singular(self.cross / np.sqrt(self.components.damping(self.penalty)))[1]

    def linear_map(self, rank: int | None = None) -> LinearMap:
        """Return the map between the spaces in their own units, of at most `rank`; None sets no limit."""
        inner = self.cross / self.components.damping(self.penalty)
        if rank is not None:
            kept = self.directions[:, :rank]
            inner = inner @ kept @ kept.T
        weights = self.components.vectors @ inner * self.units.spread
        return LinearMap(weights, self.units.level - self.components.centre @ weights)


@dataclass(frozen=True)
class Ridge:
    """Fit ridge regressions of any target on one source.

    Everything that does not depend on the target is computed once.

    Attributes
    ----------
    lambdas : in units of the mean variance of the source's features; so one grid fits spaces of any scale.
    train, validation : scores of these splits along the components of the training split.
    """

    split: Split
    lambdas: tuple[float, ...]
    components: Components
    train: Float[np.ndarray, "train components"]
    validation: Float[np.ndarray, "validation components"]

    def fit(self, target: Float[np.ndarray, "images target"]) -> RidgeFit:
        """Fit on the training split, with the lambda of the smallest error on the validation split.

        The error is the mean squared error in the target's units.

        Raises
        ------
        ValueError
            If a value is not finite.
        """
        train, validation = _finite(target[self.split.train]), _finite(target[self.split.validation])
        units = units_of(train)
        cross = self.train.T @ units(train) / len(train)
        errors = [self._error(cross, units(validation), penalty) for penalty in self.lambdas]
        return RidgeFit(self.components, units, cross, self.lambdas[int(np.argmin(errors))])

    def _error(self, cross: np.ndarray, validation: np.ndarray, penalty: float) -> float:
        """Compute the mean squared error on the validation split."""
        return float(np.square(self.validation @ (cross / self.components.damping(penalty)) - validation).mean())


def ridge(source: Float[np.ndarray, "images source"], split: Split, lambdas: tuple[float, ...]) -> Ridge:
    """Prepare regressions on `source`.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    train, validation = _finite(source[split.train]), _finite(source[split.validation])
    components = principal_components(train)
    return Ridge(split, lambdas, components, components.scores(train), components.scores(validation))


def _finite(features: np.ndarray) -> np.ndarray:
    """Return the features in double precision."""
    if not np.isfinite(features).all():
        raise ValueError("features hold NaN or infinite values")
    return features.astype(np.float64)


def r_squared(
    target: Float[np.ndarray, "images target"], predicted: Float[np.ndarray, "images target"]
) -> Float[np.ndarray, " target"]:
    """Compute the explained share of each feature's variance; NaN for a constant feature."""
    target, predicted = (np.asarray(values, dtype=np.float64) for values in (target, predicted))
    return _share_explained(target, np.square(target - predicted).sum(axis=0))


def _share_explained(target: np.ndarray, residual: Float[np.ndarray, "*ranks target"]) -> np.ndarray:
    """Compute one minus the residual sum of squares over the total sum."""
    total = np.square(target - target.mean(axis=0)).sum(axis=0)
    varies = np.broadcast_to(total > CONSTANT * np.square(target).sum(axis=0), residual.shape)
    return 1 - np.divide(residual, total, out=np.full(residual.shape, np.nan), where=varies)


def r_squared_by_rank(
    target: Float[np.ndarray, "images target"],
    predicted: Float[np.ndarray, "images target"],
    directions: Float[np.ndarray, "target rank"],
) -> Float[np.ndarray, "rank+1 target"]:
    """Compute R2 of each feature if predictions keep only their first 0, 1, 2, … orthonormal directions.

    All values come from second moments.

    Parameters
    ----------
    target, predicted : in the units in which `directions` are orthonormal; 0 is the mean of the training split.
    """
    along = predicted @ directions
    moments = along.T @ along
    gain = directions * (
        2 * target.T @ along - 2 * directions @ np.triu(moments, 1) - directions * np.diagonal(moments)
    )
    removed = np.column_stack([np.zeros(len(gain)), np.cumsum(gain, axis=1)])
    return _share_explained(target, np.square(target).sum(axis=0) - removed.T)


def rank_curve(
    fit: RidgeFit, source: Float[np.ndarray, "images source"], target: Float[np.ndarray, "images target"]
) -> Float[np.ndarray, "rank+1 target"]:
    """Compute R2 of each feature by the rank of a fit, from 0 (the training mean) to full."""
    return r_squared_by_rank(fit.units(target), fit.units(fit.linear_map()(source)), fit.directions)


def ceiling_by_rank(
    units: Units, train: Float[np.ndarray, "train target"], target: Float[np.ndarray, "images target"]
) -> Float[np.ndarray, "rank+1 target"]:
    """Compute R2 of the target's own leading principal components of the training split.

    No map of this rank is expected to exceed it.
    """
    return r_squared_by_rank(units(target), units(target), right_singular(units(train))[1])


def smallest_rank(by_rank: Float[np.ndarray, "rank+1 target"], share: float) -> int:
    """Find the smallest rank with at least this share of the full map's mean R2.

    The rank is 0 if the full map explains nothing.
    """
    mean = np.nanmean(by_rank, axis=1)
    return int(np.argmax(mean >= share * mean[-1])) if mean[-1] > 0 else 0


@dataclass(frozen=True)
class CurvePoint:
    """Hold held-out R2 of maps from one number of images, and of null maps from as many; one row for each draw."""

    images: int
    r_squared: Float[np.ndarray, "draws target"]
    null: Float[np.ndarray, "draws target"]


def learning_curve(
    source: Float[np.ndarray, "images source"],
    target: Float[np.ndarray, "images target"],
    prepared: Ridge,
    counts: tuple[int, ...],
    draws: int,
    generator: Generator,
    rank: int | None = None,
) -> list[CurvePoint]:
    """Compute held-out R2 by the number of training images, with a new lambda for each number.

    Numbers of all training images or more are left out.

    Parameters
    ----------
    prepared : source of the split and the lambdas.
    draws : number of random orders of the training images; the smaller sets of an order are part of the larger ones.
    """
    orders = [generator.permutation(prepared.split.train) for _ in range(draws)]
    points = []
    for count in sorted({count for count in counts if count < len(prepared.split.train)}):
        splits = [replace(prepared.split, train=np.sort(order[:count])) for order in orders]
        pairs = [
            _with_null(source, target, ridge(source, split, prepared.lambdas), generator, rank) for split in splits
        ]
        points.append(CurvePoint(count, *(np.array(values) for values in zip(*pairs, strict=True))))
    return points


def _with_null(
    source: np.ndarray, target: np.ndarray, prepared: Ridge, generator: Generator, rank: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the held-out R2 of a map and of one null map."""
    rows = permuted(prepared.split, len(target), generator)
    heldout = prepared.split.heldout
    maps = (prepared.fit(paired).linear_map(rank) for paired in (target, target[rows]))
    fitted, null = (r_squared(target[heldout], linear_map(source[heldout])) for linear_map in maps)
    return fitted, null


def permuted(split: Split, images: int, generator: Generator) -> Int[np.ndarray, " images"]:
    """Shuffle the training and the validation targets, each among themselves: the pairing of the null map."""
    rows = np.arange(images)
    for rows_of_split in (split.train, split.validation):
        rows[rows_of_split] = generator.permutation(rows_of_split)
    return rows


def known_linear(
    source: Float[np.ndarray, "images source"], features: int, noise: float, generator: Generator
) -> Float[np.ndarray, "images features"]:
    """Return a control that a linear map must recover: a random linear map with noise.

    `noise` is a share of each signal's standard deviation.
    """
    signal = source @ generator.normal(size=(source.shape[1], features))
    return signal + noise * signal.std(axis=0) * generator.normal(size=signal.shape)


def not_linear(
    source: Float[np.ndarray, "images source"], features: int, components: Components, generator: Generator
) -> Float[np.ndarray, "images features"]:
    """Return a control that no linear map can fit: the exclusive or (-1, 1) of two random half-spaces.

    The source is whitened, and only signs are used. An encoder's own features are correlated and skewed, so that
    products of them are largely linear in them.
    """
    white = components.scores(source) / np.sqrt(components.variances)
    first, second = generator.normal(size=(2, white.shape[1], features))
    return np.sign(white @ first) * np.sign(white @ second)


def bootstrap(
    values: Float[np.ndarray, "draws items"],
    statistic: Callable[..., np.ndarray],
    samples: int,
    confidence: float,
    generator: Generator,
) -> tuple[float, float]:
    """Compute the percentile interval of the mean over draws of a statistic over items.

    Draws and items are resampled, with the same items in every draw.

    Parameters
    ----------
    statistic : function of an array and ``axis``, for instance ``np.mean``.

    Raises
    ------
    ValueError
        If there is no value.
    """
    if not values.size:
        raise ValueError("no values to resample")
    draws, items = values.shape
    rows = generator.integers(0, draws, (samples, draws, 1))
    columns = generator.integers(0, items, (samples, 1, items))
    means = statistic(values[rows, columns], axis=2).mean(axis=1)
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def cosines(
    first: Float[np.ndarray, "images features"], second: Float[np.ndarray, "images features"]
) -> Float[np.ndarray, " images"]:
    """Compute the cosines of the rows; 0 if one of the two is zero."""
    first, second = (np.asarray(rows, dtype=np.float64) for rows in (first, second))
    scale = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.divide((first * second).sum(axis=1), scale, out=np.zeros(len(first)), where=scale > 0)


def overlap(first: Int[np.ndarray, "groups k"], second: Int[np.ndarray, "groups k"]) -> Float[np.ndarray, " groups"]:
    """Compute the share of each row's entries that are also in the other's row; entries below 0 are missing."""
    same = (first[:, :, None] == second[:, None, :]) & (first[:, :, None] >= 0)
    return same.any(axis=2).sum(axis=1) / np.maximum((first >= 0).sum(axis=1), 1)
