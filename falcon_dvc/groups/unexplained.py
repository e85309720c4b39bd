"""Count the features that are not explained by reason, and find settings that explain more of them on the same images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Int

from falcon_dvc.artifacts.shortfalls import proposed
from falcon_dvc.groups.activations import Features, dense, fires_by_quantile, threshold_by_sigma, varies

if TYPE_CHECKING:
    from falcon_dvc.params.schema import FindGroups

QUANTILES = (0.95, 0.925, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5)
SIGMAS = (4.0, 3.0, 2.5, 2.0, 1.5, 1.0, 0.5)
MIN_IMAGES = (8, 5, 3)
VALUES = 2**22  # activations that settings are tried on; more features are sampled


def unexplained(
    normalised: Features,
    fires: Bool[np.ndarray, "images features"],
    features: Int[np.ndarray, " of"],
    explained: int,
    settings: FindGroups,
) -> dict[str, Any]:
    """Count the features that are not explained, and propose values of params.

    Parameters
    ----------
    normalised : row-normalised features of the explained images.
    fires : which image fires which feature.
    features : numbers of the features to be explained.
    explained : how many of them are.

    Returns
    -------
    ``not_explained`` (counts), and ``proposed`` (by param, the value and the number of features that it explains) if a
    value explains more; empty if all features are explained.
    """
    if explained == len(features):
        return {}
    support, constant = fires.sum(axis=0)[features], ~varies(normalised)[features]
    counts = {
        "features": len(features),
        "images": len(fires),
        "least_images": settings.min_images,
        "constant": int(constant.sum()),
        "on_fewer_images": len(features) - explained - int(constant.sum()),
    }
    ways: dict[str, dict[str, float]]
    if settings.grouping == "exact":
        ways = {"grouping_cofire": {"explained": int((support >= settings.min_images).sum())}}
    else:
        few = features[(support < settings.min_images) & ~constant]
        tried = _other_rules(normalised, few, explained, settings) | _fewer_images(support, settings)
        ways = {name: proposed(by_value, explained) for name, by_value in tried.items()}
        ways |= _by_quantile(normalised, features, explained, settings) if settings.rule == "sigma" else {}
    ways = {name: way for name, way in ways.items() if way}
    return {"not_explained": counts} | ({"proposed": ways} if ways else {})


def _fewer_images(support: Int[np.ndarray, " of"], settings: FindGroups) -> dict[str, dict[float, int]]:
    """Count how many features have enough images if fewer are enough."""
    lower = [least for least in MIN_IMAGES if least < settings.min_images]
    return {"min_images": {least: int((support >= least).sum()) for least in lower}}


def _other_rules(
    normalised: Features, few: Int[np.ndarray, " few"], explained: int, settings: FindGroups
) -> dict[str, dict[float, int]]:
    """Count how many features would have enough images by laxer rules.

    A laxer rule keeps the features that are explained already, so it is tried on a sample of the others.
    """
    sample = _sampled(few, normalised.shape[0])
    columns, scale = dense(normalised[:, sample]), len(few) / max(len(sample), 1)

    def enough(fires: np.ndarray) -> int:
        return explained + round(scale * int((fires.sum(axis=0) >= settings.min_images).sum()))

    if settings.rule == "sigma":
        lower = [sigma for sigma in SIGMAS if sigma < settings.sigma]
        return {"sigma": {sigma: enough(columns >= threshold_by_sigma(normalised, sigma)) for sigma in lower}}
    if settings.rule == "quantile":
        lower = [quantile for quantile in QUANTILES if quantile < settings.quantile]
        return {"quantile": {quantile: enough(fires_by_quantile(columns, quantile)) for quantile in lower}}
    return {}


def _by_quantile(
    normalised: Features, features: Int[np.ndarray, " of"], explained: int, settings: FindGroups
) -> dict[str, dict[str, float]]:
    """Propose the rule by which each feature has a threshold of its own, if it explains more."""
    sample = _sampled(features, normalised.shape[0])
    support = fires_by_quantile(dense(normalised[:, sample]), settings.quantile).sum(axis=0)
    enough = round(len(features) / len(sample) * int((support >= settings.min_images).sum()))
    return {"rule_quantile": {"explained": enough}} if enough > explained else {}


def _sampled(features: Int[np.ndarray, " of"], images: int) -> Int[np.ndarray, " sampled"]:
    """Take every feature, or evenly spread ones if all of them have more than `VALUES` activations."""
    return features[:: max(-(-len(features) * images // VALUES), 1)]
