"""Measure how well a map fits on held-out images.

The measures are R2 and cosine, by number of images and by rank, beside null maps and controls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc.transfer import maps as mapping
from falcon_dvc.transfer.maps import CurvePoint, LinearMap, Split
from falcon_dvc.transfer.spaces import Maps, Spaces

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Transfer


STATISTICS: dict[str, Callable[..., np.ndarray]] = {"median": np.median, "mean": np.mean, "share": np.mean}


def r_squared(target: np.ndarray, spaces: Spaces, rows: np.ndarray, *maps: LinearMap) -> np.ndarray:
    """Compute R2 of each feature of a target by each map on the given images: (maps, features)."""
    return np.array([mapping.r_squared(target[rows], linear_map(spaces.unseen[rows])) for linear_map in maps])


def estimate(statistic: str, values: np.ndarray, settings: Transfer) -> dict[str, float]:
    """Compute a statistic over items, averaged over draws, with its bootstrap interval.

    Items without a value are left out.

    Parameters
    ----------
    values : (items,) or (draws, items).
    """
    known = np.atleast_2d(np.asarray(values, dtype=float))
    known = known[:, ~np.isnan(known).any(axis=0)]
    generator = np.random.default_rng(settings.seed)
    low, high = mapping.bootstrap(known, STATISTICS[statistic], settings.bootstrap, settings.confidence, generator)
    value = float(STATISTICS[statistic](known, axis=1).mean())
    return {statistic: value, "interval_low": low, "interval_high": high}


def fit_metrics(spaces: Spaces, maps: Maps, settings: Transfer) -> dict:
    """Compute the fit of the map on held-out images, on its training images, and of the null maps.

    The difference to the training images shows how optimistic a fit on training images is.
    """
    split, target = maps.split, spaces.explained
    heldout = r_squared(target, spaces, split.heldout, maps.fitted)
    training = r_squared(target, spaces, split.train, maps.fitted)
    null = r_squared(target, spaces, split.heldout, *maps.nulls)
    return {
        "ridge": maps.fit.penalty,
        "images": {"train": len(split.train), "validation": len(split.validation), "heldout": len(split.heldout)},
        "r2": estimate("median", heldout, settings),
        "r2_of_features": estimate("mean", heldout, settings),
        "r2_above_half": estimate("share", np.where(np.isnan(heldout), np.nan, heldout > 0.5), settings),
        "r2_null": estimate("median", null, settings),
        "r2_on_training_images": estimate("median", training, settings),
        "r2_of_features_on_training_images": estimate("mean", training, settings),
        "cosine": estimate("mean", _cosines(spaces, split, maps.fitted), settings),
        "cosine_null": estimate("mean", _cosines(spaces, split, *maps.nulls).mean(axis=0), settings),
    }


def _cosines(spaces: Spaces, split: Split, *maps: LinearMap) -> np.ndarray:
    """Compute the cosine of each held-out image's features with the features that each map predicts: (maps, images)."""
    target, source = spaces.explained[split.heldout], spaces.unseen[split.heldout]
    return np.array([mapping.cosines(target, linear_map(source)) for linear_map in maps])


def curve_by_images(spaces: Spaces, maps: Maps, settings: Transfer) -> pd.DataFrame:
    """Compute plot data: held-out median R2 of maps from fewer images and from all, beside null maps.

    Each null map has as many training images.
    """
    generator, curve, heldout = np.random.default_rng([settings.seed, 1]), settings.curve, maps.split.heldout
    points = mapping.learning_curve(
        spaces.unseen, spaces.explained, maps.prepared, curve.images, curve.draws, generator, settings.rank
    )
    whole, null = (r_squared(spaces.explained, spaces, heldout, *chosen) for chosen in ([maps.fitted], maps.nulls))
    points.append(CurvePoint(len(maps.split.train), whole, null))
    return pd.DataFrame([_point(point, settings) for point in points])


def _point(point: CurvePoint, settings: Transfer) -> dict[str, float]:
    fitted, null = (estimate("median", values, settings) for values in (point.r_squared, point.null))
    return {
        "training_images": point.images,
        "r2": fitted["median"],
        "interval_low": fitted["interval_low"],
        "interval_high": fitted["interval_high"],
        "null": null["median"],
        "null_low": null["interval_low"],
        "null_high": null["interval_high"],
    }


def curve_by_rank(spaces: Spaces, maps: Maps, settings: Transfer) -> tuple[pd.DataFrame, dict]:
    """Compute plot data: held-out R2 by the rank of the map; and the number of dimensions that are enough.

    This number is chosen on the validation split.
    """
    split, fit = maps.split, maps.fit
    train, validation, heldout = (spaces.explained[rows] for rows in (split.train, split.validation, split.heldout))
    by_rank = mapping.rank_curve(fit, spaces.unseen[split.heldout], heldout)
    null = mapping.rank_curve(maps.null_fits[0], spaces.unseen[split.heldout], heldout)
    ceiling = mapping.ceiling_by_rank(fit.units, train, heldout)
    enough = mapping.smallest_rank(
        mapping.rank_curve(fit, spaces.unseen[split.validation], validation), settings.rank_share
    )
    of_space = mapping.smallest_rank(mapping.ceiling_by_rank(fit.units, train, validation), settings.rank_share)
    metrics = {
        "dimensions": {"full": len(by_rank) - 1, "enough": enough, "enough_for_explained_space": of_space},
        "r2_of_features_with_enough": estimate("mean", by_rank[enough], settings),
    }
    return _rank_table(by_rank, null, ceiling, settings), metrics


def _rank_table(by_rank: np.ndarray, null: np.ndarray, ceiling: np.ndarray, settings: Transfer) -> pd.DataFrame:
    """List the curves at the ranks 1, 2, 4, … and the full rank.

    A curve that ends earlier keeps its last value.
    """
    full = len(by_rank) - 1
    ranks = [2**power for power in range(full.bit_length()) if 2**power < full] + [full]
    estimates = [estimate("mean", by_rank[rank], settings) for rank in ranks]
    return pd.DataFrame(
        {
            "rank": ranks,
            "r2": [values["mean"] for values in estimates],
            "interval_low": [values["interval_low"] for values in estimates],
            "interval_high": [values["interval_high"] for values in estimates],
            "median": np.nanmedian(by_rank[ranks], axis=1),
            "null": np.nanmean(null[np.minimum(ranks, len(null) - 1)], axis=1),
            "ceiling": np.nanmean(ceiling[np.minimum(ranks, len(ceiling) - 1)], axis=1),
        }
    )


def control_metrics(spaces: Spaces, maps: Maps, settings: Transfer) -> dict:
    """Compute the fit, with no limit of rank, of two controls in place of the explained space.

    One is a known linear map of the unseen space. The other is a function that no linear map can fit.
    """
    generator, features = np.random.default_rng([settings.seed, 2]), spaces.explained.shape[1]
    # The controls run one after the other, because each target is as large as the explained space.
    linear = mapping.known_linear(spaces.unseen, features, settings.control_noise, generator)
    of_linear = _control(linear, spaces, maps, settings)
    del linear
    nonlinear = mapping.not_linear(spaces.unseen, features, maps.prepared.components, generator)
    return {"control_linear": of_linear, "control_nonlinear": _control(nonlinear, spaces, maps, settings)}


def _control(target: np.ndarray, spaces: Spaces, maps: Maps, settings: Transfer) -> dict[str, float]:
    """Compute the held-out R2 of a map that is fitted to `target`."""
    fitted = maps.prepared.fit(target).linear_map()
    return estimate("median", r_squared(target, spaces, maps.split.heldout, fitted), settings)


def r_squared_plot(spaces: Spaces, maps: Maps) -> pd.DataFrame:
    """Compute plot data: held-out R2 of each explained feature, best first."""
    (values,) = r_squared(spaces.explained, spaces, maps.split.heldout, maps.fitted)
    best_first = np.sort(np.nan_to_num(values, nan=0.0))[::-1]
    return pd.DataFrame({"feature_by_rank": np.arange(1, len(best_first) + 1), "r2": best_first})
