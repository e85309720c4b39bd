"""Directions of known meaning in the activations of a world's supervised encoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from falcon_dvc import paths
from falcon_dvc.activations.stored import open_rows
from falcon_dvc.artifacts.formats import read_array, read_table
from falcon_dvc.evaluation.ground_truth import attributes_of
from falcon_dvc.params.schema import Params
from worlds.worlds import World

PENALTY = 1e-3  # of the ridge regression, as a share of the activations' variance
POSITIONS_OF = 1000  # images whose positions are read


@dataclass(frozen=True)
class Probe:
    """The probe images as an encoder sees them.

    Attributes
    ----------
    features : activations.
    attributes : one bool column for each (kind, value).
    positions : activations at each position of the first `POSITIONS_OF` images.
    """

    features: Float[np.ndarray, "images channels"]
    attributes: pd.DataFrame
    positions: Float[np.ndarray, "some positions channels"]


def supervised_encoder(world: World) -> str:
    """Return the name of a world's supervised encoder."""
    return next(name for name, spec in world.encoders.items() if spec.objective == "supervised")


def read_probe(params: Params, encoder: str) -> Probe:
    """Read what `extract_activations` wrote of the probe images."""
    images = read_table(paths.IMAGES)
    rows = np.flatnonzero(images["split"] == "probe")
    features = open_rows(paths.activations(encoder) / "features").rows(rows).astype(np.float64)
    maps = read_array(paths.activations(encoder) / "maps.npy")[rows[:POSITIONS_OF]].astype(np.float64)
    positions = maps.reshape(*maps.shape[:2], -1).transpose(0, 2, 1)
    return Probe(features, attributes_of(images["image"].iloc[rows], params.data.images), positions)


def directions_of(
    features: Float[np.ndarray, "images channels"], values: Bool[np.ndarray, "images values"]
) -> Float[np.ndarray, "values channels"]:
    """Fit one direction for each column by ridge regression."""
    from sklearn.linear_model import Ridge

    penalty = PENALTY * len(features) * features.var(axis=0).mean()
    return Ridge(alpha=penalty).fit(features, values.astype(float)).coef_
