"""Hold two feature spaces on the same images, and fit the maps between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc.errors import UserError
from falcon_dvc.progress import track
from falcon_dvc.transfer import maps as mapping
from falcon_dvc.transfer.maps import LinearMap, Ridge, RidgeFit, Split

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Transfer


@dataclass(frozen=True)
class Spaces:
    """Hold both spaces on the probe images, and the groups to transfer.

    Attributes
    ----------
    images : table of the probe images; `rows`: their rows in all arrays.
    explained, unseen : features of the probe images.
    groups : table of the explained space's groups; `members`: their features, averaged (groups x features).
    """

    images: pd.DataFrame
    rows: np.ndarray
    explained: np.ndarray
    unseen: np.ndarray
    groups: pd.DataFrame
    members: np.ndarray


@dataclass(frozen=True)
class Maps:
    """Hold the map from the unseen to the explained space, and null maps from shuffled pairings of images.

    Attributes
    ----------
    prepared : regression on the unseen space, without a target.
    fit, null_fits : regressions; `fitted`, `nulls`: their maps, limited to the rank `transfer.rank`.
    """

    prepared: Ridge
    fit: RidgeFit
    fitted: LinearMap
    null_fits: list[RidgeFit]
    nulls: list[LinearMap]

    @property
    def split(self) -> Split:
        return self.prepared.split


def _split(spaces: Spaces, settings: Transfer, generator: np.random.Generator) -> Split:
    """Divide the images; at least one explained feature must vary in the held-out split."""
    try:
        split = mapping.split_images(len(spaces.rows), settings.splits.train, settings.splits.validation, generator)
    except ValueError as error:
        raise UserError(f"transfer.splits: {error}") from error
    if not np.ptp(spaces.explained[split.heldout], axis=0).any():
        raise UserError("transfers: every feature of the explained encoder is constant; name another encoder")
    return split


def fit_maps(spaces: Spaces, settings: Transfer) -> Maps:
    """Fit the map, and null maps on shuffled pairings."""
    generator = np.random.default_rng(settings.seed)
    split = _split(spaces, settings, generator)
    prepared = mapping.ridge(spaces.unseen, split, settings.ridge)
    fit = prepared.fit(spaces.explained)
    rounds = track(range(settings.permutations), "maps of shuffled pairs")
    pairings = (mapping.permuted(split, len(spaces.rows), generator) for _ in rounds)
    nulls = [prepared.fit(spaces.explained[rows]) for rows in pairings]
    return Maps(prepared, fit, fit.linear_map(settings.rank), nulls, [null.linear_map(settings.rank) for null in nulls])
