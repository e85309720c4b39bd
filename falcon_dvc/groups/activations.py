"""Select the images that activate a feature highly (step 2) and those that do so lowly (step 7)."""

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from falcon_dvc.threads import in_blocks

Features: TypeAlias = Float[np.ndarray, "images features"] | sparse.csr_array
Fires = Bool[np.ndarray, "images features"]

CONSTANT = 1e-9  # a range of values below this is rounding
COLUMNS_AT_ONCE = 256  # features that are read as a dense array, if the matrix is sparse
VALUES_AT_ONCE = 2**18  # values of the matrix that a thread reads at once
FIRST_IMAGES = 64  # almost every feature that varies over all images varies over this number of them


def row_normalised(features: Features) -> Features:
    """Scale the feature vector of each image to unit length.

    An all-zero row stays zero.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    features = finite_features(features)
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return np.divide(features, norms, out=np.zeros_like(features), where=norms > 0)


def finite_features(features: Features) -> Features:
    """Return the features in double precision.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    features = np.asarray(features, dtype=np.float64)
    if not np.isfinite(features).all():
        raise ValueError("features hold NaN or infinite values")
    return features


def dense(values: Features) -> Float[np.ndarray, "images features"]:
    """Return a part of a matrix that may be sparse as a dense array."""
    return values if isinstance(values, np.ndarray) else values.toarray()


def _by_features(fires: Callable[[Features], Fires], normalised: Features) -> Fires:
    """Apply a rule that treats each feature on its own, to a block of features at a time if the matrix is sparse."""
    if not sparse.issparse(normalised):
        return fires(normalised)
    columns, found = sparse.csc_array(normalised), np.empty(normalised.shape, dtype=bool)
    for start in range(0, found.shape[1], COLUMNS_AT_ONCE):
        block = slice(start, start + COLUMNS_AT_ONCE)
        found[:, block] = fires(np.ascontiguousarray(columns[:, block].toarray()))
    return found


def fires_by_sigma(normalised: Features, sigma: float) -> Fires:
    """Apply one threshold to the whole matrix: mean + sigma * std (released: sigma = 5).

    A constant feature never fires, because it does not separate images.
    """
    threshold = threshold_by_sigma(normalised, sigma)
    fires = np.empty(normalised.shape, dtype=bool)

    def compare(rows: slice) -> None:
        np.greater_equal(dense(normalised[rows]), threshold, out=fires[rows])

    in_blocks(compare, len(fires), _rows_at_once(normalised))
    fires[:, ~varies(normalised)] = False
    return fires


def threshold_by_sigma(normalised: Features, sigma: float) -> float:
    """Compute mean + sigma * std of the whole matrix."""
    mean, square = _mean_and_mean_square(normalised)
    return float(mean + sigma * np.sqrt(max(square - mean**2, 0.0)))


def _mean_and_mean_square(values: np.ndarray) -> tuple[float, float]:
    """Compute the mean and the mean square of all values, one block of rows at a time.

    NumPy's standard deviation would allocate a second matrix for the differences.
    """

    def sums(rows: slice) -> tuple[float, float]:
        block = dense(values[rows])
        return block.sum(), np.vecdot(block, block).sum()

    images, features = values.shape
    sums_of_blocks = in_blocks(sums, images, _rows_at_once(values))
    mean, square = np.sum(sums_of_blocks or [(0.0, 0.0)], axis=0) / max(images * features, 1)
    return mean, square


def _rows_at_once(values: np.ndarray) -> int:
    return max(VALUES_AT_ONCE // max(values.shape[1], 1), 1)


def fires_by_quantile(normalised: Features, quantile: float) -> Fires:
    """Apply each feature's own quantile as its threshold.

    An image at or below the feature's mean never fires.
    """
    threshold = np.quantile(normalised, quantile, axis=0)
    return (normalised >= threshold) & (normalised > normalised.mean(axis=0)) & varies(normalised)


def fires_by_rank(normalised: Features, top_k: int) -> Fires:
    """Select each feature's `top_k` strongest images above its own mean.

    Ties go to the earlier image.
    """
    order = np.argsort(-normalised, axis=0, kind="stable")[:top_k]
    fires = np.zeros(normalised.shape, dtype=bool)
    np.put_along_axis(fires, order, True, axis=0)
    return fires & (normalised > normalised.mean(axis=0)) & varies(normalised)


def highly_activating(
    normalised: Features, rule: Literal["top_k", "quantile", "sigma"], *, top_k: int, quantile: float, sigma: float
) -> Fires:
    """Decide which image fires which feature, by the rule named."""
    if rule == "sigma":
        return fires_by_sigma(normalised, sigma)
    if rule == "quantile":
        return _by_features(partial(fires_by_quantile, quantile=quantile), normalised)
    return _by_features(partial(fires_by_rank, top_k=top_k), normalised)


def picked(
    activation: Float[np.ndarray, "groups images"],
    fires: Bool[np.ndarray, "groups images"],
    most: int,
    pick: Literal["spread", "strongest"],
) -> Int[np.ndarray, "groups most"]:
    """Select at most `most` of the images that fire each group, strongest first.

    Missing entries are -1.

    ``strongest`` takes the first ones. ``spread`` takes them evenly over all ranks. On its strongest images a feature
    fires together with others. Their captions then name the conjunction.
    """
    order = np.argsort(-np.where(fires, activation, -np.inf), axis=1, kind="stable")
    count = fires.sum(axis=1, keepdims=True)
    steps = np.arange(min(most, fires.shape[1]))
    spread = np.rint(steps * (count - 1) / max(most - 1, 1)).astype(int)
    place = np.where((count > most) & (pick == "spread"), spread, steps)
    return np.where(steps < count, np.take_along_axis(order, place, axis=1), -1)


def lowly_activating(
    normalised: Features,
    members: Bool[np.ndarray, "groups features"],
    images: Bool[np.ndarray, "groups images"],
    count: int,
    similarity: float,
) -> tuple[Int[np.ndarray, "groups count"], Float[np.ndarray, "groups count"]]:
    """Select images that resemble a group's images in all *other* features but do not fire the group.

    Source: Eq. 2, with the cosine as the similarity; the candidates are those of the released code.

    Parameters
    ----------
    normalised : row-normalised features.
    members : the features of each group.
    images : the highly activating images of each group.
    count : number of images to keep.
    similarity : smallest cosine to the mean of the group's images, over the features outside the group.

    Returns
    -------
    rows, cosines
        Rows of the images, most alike first; -1 and -inf where there are fewer than `count`.
    """
    own, which = _own(members)
    # A feature on a small scale fires below the mean of the matrix. So the group's own images are excluded explicitly.
    fires = images | _any_fires(dense(normalised[:, own]) >= normalised.mean(), which)
    return _most_alike(normalised, members, images, fires, count, similarity)


def lowly_activating_distinct(
    normalised: Features,
    fires: Fires,
    members: Bool[np.ndarray, "groups features"],
    images: Bool[np.ndarray, "groups images"],
    count: int,
    similarity: float,
    redundancy: float,
) -> tuple[Int[np.ndarray, "groups count"], Float[np.ndarray, "groups count"]]:
    """Select lowly activating images, with redundant features treated as members of the group.

    This rule is not part of FALCON. Several features may code one attribute. The images most alike in the *other*
    features then share this attribute, and the contrast removes the true word.

    So a lowly activating image fires no redundant feature. Its activation of the group is at or below the mean of the
    group. The similarity omits the redundant features, so that only the context has to be alike.

    Parameters
    ----------
    fires : which image fires which feature.
    redundancy : a feature is redundant if the group fires on at least this share of the images that fire the feature.
    """
    own = members | redundant(fires, images, redundancy)
    features, which = _own(members)
    activation = (which / which.sum(axis=1, keepdims=True)) @ dense(normalised[:, features]).T
    features, which = _own(own)
    excluded = images | _any_fires(fires[:, features], which)
    excluded |= activation > activation.mean(axis=1, keepdims=True)
    return _most_alike(normalised, own, images, excluded, count, similarity)


def _own(
    members: Bool[np.ndarray, "groups features"],
) -> tuple[Int[np.ndarray, " own"], Float[np.ndarray, "groups own"]]:
    """Return the features that belong to any of the groups, and each group's members among them.

    A block of groups has few such features.
    """
    features = np.flatnonzero(members.any(axis=0))
    return features, members[:, features].astype(np.float64)


def _any_fires(
    fires: Bool[np.ndarray, "images own"], which: Float[np.ndarray, "groups own"]
) -> Bool[np.ndarray, "groups images"]:
    """Find the images that fire at least one of each group's features."""
    return which.astype(np.float32) @ fires.T.astype(np.float32) > 0


def redundant(
    fires: Fires, images: Bool[np.ndarray, "groups images"], share: float
) -> Bool[np.ndarray, "groups features"]:
    """Find the features that fire almost only on the images of a group.

    The measure is one-sided on purpose. A feature for the shared context of a group also fires on many other images.
    """
    together = (sparse.csr_array(images, dtype=np.float32) @ sparse.csr_array(fires, dtype=np.float32)).toarray()
    count = fires.sum(axis=0)
    return (count > 0) & (together >= share * np.maximum(count, 1))


def _most_alike(
    normalised: Features,
    without: Bool[np.ndarray, "groups features"],
    images: Bool[np.ndarray, "groups images"],
    excluded: Bool[np.ndarray, "groups images"],
    count: int,
    similarity: float,
) -> tuple[Int[np.ndarray, "groups count"], Float[np.ndarray, "groups count"]]:
    """Rank the images by their similarity to a group's images in the features outside `without`.

    The images of `excluded` are left out.
    """
    # Rounding makes ties go to the earlier image, whatever the last bits are.
    cosine = np.round(_cosine_outside(normalised, without, images), 12)
    cosine[excluded | (cosine < similarity)] = -np.inf
    rows = _largest_first(cosine, count)
    return rows, np.where(rows >= 0, np.take_along_axis(cosine, rows, axis=1), -np.inf)


def _largest_first(values: Float[np.ndarray, "groups images"], count: int) -> Int[np.ndarray, "groups count"]:
    """Find the columns of the `count` largest finite values of each row, the largest first.

    Ties go to the smaller column. Missing entries are -1.
    """
    groups, images = values.shape
    if not count:
        return np.full((groups, 0), -1)
    least = np.partition(values, max(images - count, 0), axis=1)[:, max(images - count, 0)]
    group, image = np.nonzero((values >= least[:, None]) & (values > -np.inf))  # avoids sorting the rest
    order = np.lexsort((image, -values[group, image], group))
    rank = np.arange(len(group)) - np.searchsorted(group, group)
    places = np.full((groups, min(count, images)), -1)
    kept = rank < count
    places[group[kept], rank[kept]] = image[order[kept]]
    return places


def _cosine_outside(
    normalised: Features, members: np.ndarray, images: np.ndarray
) -> Float[np.ndarray, "groups images"]:
    """Compute the cosine of each image to each group's mean image, without the group's own features.

    One large matrix product gives all cosines.
    """
    size = np.maximum(images.sum(axis=1, keepdims=True), 1)
    centre = np.where(members, 0.0, dense(sparse.csr_array(images, dtype=np.float64) @ normalised) / size)
    own, which = _own(members)
    inside = which @ np.square(dense(normalised[:, own])).T
    length = np.sqrt(np.maximum(_squared_lengths(normalised) - inside, 0))
    scale = np.linalg.norm(centre, axis=1, keepdims=True) * length
    product = (normalised @ centre.T).T if sparse.issparse(normalised) else centre @ normalised.T
    return np.divide(product, scale, out=np.zeros_like(scale), where=scale > 1e-12)


def _squared_lengths(normalised: Features) -> Float[np.ndarray, " images"]:
    """Compute the sum of squares of each row."""
    if isinstance(normalised, np.ndarray):
        return np.einsum("ij,ij->i", normalised, normalised)
    return normalised.multiply(normalised).sum(axis=1)


def varies(normalised: Features) -> Bool[np.ndarray, " features"]:
    """Find the features that are not constant (up to rounding) over the images.

    The first images decide for almost all features. Only the others are compared on all images.
    """
    if sparse.issparse(normalised):
        return (normalised.max(axis=0) - normalised.min(axis=0)).toarray().ravel() > CONSTANT
    varies = np.ptp(normalised[:FIRST_IMAGES], axis=0) > CONSTANT
    undecided = np.flatnonzero(~varies)
    varies[undecided] = np.ptp(normalised[:, undecided], axis=0) > CONSTANT
    return varies
