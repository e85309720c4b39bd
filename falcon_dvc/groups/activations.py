"""Which images activate a feature highly (step 2) and which, though alike, do not (step 7)."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from falcon_dvc.threads import in_blocks

Features = Float[np.ndarray, "images features"]
Fires = Bool[np.ndarray, "images features"]

CONSTANT = 1e-9  # values closer than this are alike but for rounding
VALUES_AT_ONCE = 2**18  # of the matrix, that a thread reads
SHOWING = 64  # images in which a feature that is not constant hardly ever looks so


def row_normalised(features: Features) -> Features:
    """Scale every image's feature vector to unit length; an all-zero row stays zero.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    features = np.asarray(features, dtype=np.float64)
    if not np.isfinite(features).all():
        raise ValueError("features hold NaN or infinite values")
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return np.divide(features, norms, out=np.zeros_like(features), where=norms > 0)


def fires_by_sigma(normalised: Features, sigma: float) -> Fires:
    """One threshold for the whole matrix, mean + sigma * std (released: sigma = 5).

    A constant feature never fires: it tells no image from another.
    """
    mean, square = _mean_and_mean_square(normalised)
    threshold = mean + sigma * np.sqrt(max(square - mean**2, 0.0))
    fires = np.empty(normalised.shape, dtype=bool)

    def compare(rows: slice) -> None:
        np.greater_equal(normalised[rows], threshold, out=fires[rows])

    in_blocks(compare, len(fires), _rows_at_once(normalised))
    fires[:, ~_varies(normalised)] = False
    return fires


def _mean_and_mean_square(values: np.ndarray) -> tuple[float, float]:
    """Of all values, each read from memory once; numpy's own standard deviation makes a second matrix of the differences."""

    def sums(rows: slice) -> tuple[float, float]:
        some = values[rows]
        return some.sum(), np.vecdot(some, some).sum()

    found = in_blocks(sums, len(values), _rows_at_once(values))
    mean, square = np.sum(found or [(0.0, 0.0)], axis=0) / max(values.size, 1)
    return mean, square


def _rows_at_once(values: np.ndarray) -> int:
    return max(VALUES_AT_ONCE // max(values.shape[1], 1), 1)


def fires_by_quantile(normalised: Features, quantile: float) -> Fires:
    """Each feature's own quantile; images that lie at or below the feature's mean never count."""
    threshold = np.quantile(normalised, quantile, axis=0)
    return (normalised >= threshold) & (normalised > normalised.mean(axis=0)) & _varies(normalised)


def fires_by_rank(normalised: Features, top_k: int) -> Fires:
    """Each feature's `top_k` strongest images above its own mean; ties go to the earlier image."""
    order = np.argsort(-normalised, axis=0, kind="stable")[:top_k]
    fires = np.zeros(normalised.shape, dtype=bool)
    np.put_along_axis(fires, order, True, axis=0)
    return fires & (normalised > normalised.mean(axis=0)) & _varies(normalised)


def highly_activating(
    normalised: Features, rule: Literal["top_k", "quantile", "sigma"], *, top_k: int, quantile: float, sigma: float
) -> Fires:
    """Which image fires which feature, by the rule named."""
    if rule == "sigma":
        return fires_by_sigma(normalised, sigma)
    return fires_by_quantile(normalised, quantile) if rule == "quantile" else fires_by_rank(normalised, top_k)


def picked(
    activation: Float[np.ndarray, "groups images"],
    fires: Bool[np.ndarray, "groups images"],
    most: int,
    pick: Literal["spread", "strongest"],
) -> Int[np.ndarray, "groups most"]:
    """At most `most` of the images that fire each group, strongest first; -1 where there are fewer.

    ``strongest`` takes the first ones. ``spread`` takes them evenly over all ranks: the few strongest images of a feature
    are those on which it *and* others fire, so their captions name the conjunction.
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
    """Images that resemble a group's images in every *other* feature, yet fire none of the group (released; Eq. 2, by cosine).

    Parameters
    ----------
    normalised : row-normalised features.
    members : the features of each group.
    images : the highly activating images of each group.
    count : how many to keep.
    similarity : least cosine, over the features outside the group, to the mean of the group's images.

    Returns
    -------
    rows, cosines
        Rows of the images, most alike first; -1 and -inf where there are fewer than `count`.
    """
    own, which = _own(members)
    # A feature on a small scale fires below the matrix's mean: a group's own images never count as lowly activating.
    fires = images | _any_fires(normalised[:, own] >= normalised.mean(), which)
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
    """The same, with the group's redundant features treated as the group itself (not part of FALCON).

    Where several features code one attribute, the images most alike in the *other* features share that attribute, and the contrast
    removes the true word. So a lowly activating image fires no redundant feature either, it activates the group below the group's mean,
    and resemblance is measured without the redundant features: what remains alike is the context.

    Parameters
    ----------
    fires : which image fires which feature.
    redundancy : a feature is redundant if the group fires on at least this share of the images that fire the feature.
    """
    own = members | redundant(fires, images, redundancy)
    features, which = _own(members)
    activation = (which / which.sum(axis=1, keepdims=True)) @ normalised[:, features].T
    features, which = _own(own)
    excluded = images | _any_fires(fires[:, features], which)
    excluded |= activation > activation.mean(axis=1, keepdims=True)
    return _most_alike(normalised, own, images, excluded, count, similarity)


def _own(
    members: Bool[np.ndarray, "groups features"],
) -> tuple[Int[np.ndarray, " own"], Float[np.ndarray, "groups own"]]:
    """The features that belong to any of the groups, and each group's members among these: few, in a block of groups."""
    features = np.flatnonzero(members.any(axis=0))
    return features, members[:, features].astype(np.float64)


def _any_fires(
    fires: Bool[np.ndarray, "images own"], which: Float[np.ndarray, "groups own"]
) -> Bool[np.ndarray, "groups images"]:
    """Images that fire at least one of each group's features."""
    return which.astype(np.float32) @ fires.T.astype(np.float32) > 0


def redundant(
    fires: Fires, images: Bool[np.ndarray, "groups images"], share: float
) -> Bool[np.ndarray, "groups features"]:
    """Features that fire hardly anywhere but on the group's images: they say the same as the group, or less.

    The measure is one-sided on purpose: a feature for the context that a group's images share fires on many other images too.
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
    """The images most like a group's images in the features outside `without`, those of `excluded` left out."""
    # Rounded, so that ties go to the earlier image and not to the last bits.
    cosine = np.round(_cosine_outside(normalised, without, images), 12)
    cosine[excluded | (cosine < similarity)] = -np.inf
    rows = _largest_first(cosine, count)
    return rows, np.where(rows >= 0, np.take_along_axis(cosine, rows, axis=1), -np.inf)


def _largest_first(values: Float[np.ndarray, "groups images"], count: int) -> Int[np.ndarray, "groups count"]:
    """Places of the `count` largest finite values of each row, the largest first, ties by place, -1 where there are fewer."""
    groups, images = values.shape
    least = np.partition(values, max(images - count, 0), axis=1)[:, max(images - count, 0)]
    group, image = np.nonzero((values >= least[:, None]) & (values > -np.inf))  # not sorting the rest
    order = np.lexsort((image, -values[group, image], group))
    rank = np.arange(len(group)) - np.searchsorted(group, group)
    places = np.full((groups, min(count, images)), -1)
    kept = rank < count
    places[group[kept], rank[kept]] = image[order[kept]]
    return places


def _cosine_outside(
    normalised: Features, members: np.ndarray, images: np.ndarray
) -> Float[np.ndarray, "groups images"]:
    """Cosine of every image to each group's mean image, both without the group's own features: one large matrix product."""
    size = np.maximum(images.sum(axis=1, keepdims=True), 1)
    centre = np.where(members, 0.0, sparse.csr_array(images, dtype=np.float64) @ normalised / size)
    own, which = _own(members)
    inside = which @ np.square(normalised[:, own]).T
    length = np.sqrt(np.maximum(np.einsum("ij,ij->i", normalised, normalised) - inside, 0))
    scale = np.linalg.norm(centre, axis=1, keepdims=True) * length
    return np.divide(centre @ normalised.T, scale, out=np.zeros_like(scale), where=scale > 1e-12)


def _varies(normalised: Features) -> Bool[np.ndarray, " features"]:
    """Features that are not constant (up to rounding) over the images; nearly all show it in the first ones."""
    varies = np.ptp(normalised[:SHOWING], axis=0) > CONSTANT
    unsure = np.flatnonzero(~varies)
    varies[unsure] = np.ptp(normalised[:, unsure], axis=0) > CONSTANT
    return varies
