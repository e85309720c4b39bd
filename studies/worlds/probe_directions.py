"""Directions of known meaning in the activations of a world's supervised encoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from falcon_dvc import paths
from falcon_dvc.activations.stored import open_rows
from falcon_dvc.artifacts.formats import read_array, read_table
from falcon_dvc.evaluation.ground_truth import attributes_of
from falcon_dvc.params.schema import Params
from stages import fit_basis
from worlds import run_stages
from worlds.worlds import World, params_of, read_world, scratch

PENALTY = 1e-3  # of the ridge regression, as a share of the activations' variance
POSITIONS_OF = 1000  # images whose positions are read


@dataclass(frozen=True)
class Probe:
    """The probe images as an encoder sees them.

    Attributes
    ----------
    encoder : its name.
    features : activations.
    attributes : one bool column for each (kind, value).
    positions : activations at each position of the first `POSITIONS_OF` images.
    """

    encoder: str
    features: Float[np.ndarray, "images channels"]
    attributes: pd.DataFrame
    positions: Float[np.ndarray, "some positions channels"]


@contextmanager
def supervised(name: str) -> Iterator[tuple[Path, World, Params, Probe]]:
    """Pass the images of a world through its supervised encoder, in a temporary folder.

    Yields
    ------
    home, world, params, probe
        The original folder, the world, its params, and what the encoder sees on the probe images.
    """
    world = read_world(name)
    params = run_stages.without_training(params_of(world))
    encoder = next(encoder for encoder, spec in world.encoders.items() if spec.objective == "supervised")
    with scratch() as home:
        run_stages.borrow_models(home, name, params)
        run_stages.prepare(params)
        fit_basis.run(params, encoder)
        run_stages.extract_activations.run(params, encoder)
        yield home, world, params, _read_probe(params, encoder)


def in_basis(params: Params, encoder: str, name: str, basis: dict[str, Any]) -> Params:
    """Return params in which the encoder `name` is `encoder` in a basis; no groups of features are explained."""
    spec = params.encoders[encoder].model_dump() | {"basis": basis}
    return run_stages.varied(params, {"encoders": {name: spec}, "find_groups": {"max_groups": 0}})


def _read_probe(params: Params, encoder: str) -> Probe:
    """Read what `extract_activations` wrote of the probe images."""
    images = read_table(paths.IMAGES)
    rows = np.flatnonzero(images["split"] == "probe")
    features = open_rows(paths.activations(encoder) / "features").rows(rows).astype(np.float64)
    maps = read_array(paths.activations(encoder) / "maps.npy")[rows[:POSITIONS_OF]].astype(np.float64)
    positions = maps.reshape(*maps.shape[:2], -1).transpose(0, 2, 1)
    return Probe(encoder, features, attributes_of(images["image"].iloc[rows], params.data.images), positions)


def directions_of(
    features: Float[np.ndarray, "images channels"], values: Bool[np.ndarray, "images values"]
) -> Float[np.ndarray, "values channels"]:
    """Fit one direction for each column by ridge regression."""
    from sklearn.linear_model import Ridge

    penalty = PENALTY * len(features) * features.var(axis=0).mean()
    return Ridge(alpha=penalty).fit(features, values.astype(float)).coef_
