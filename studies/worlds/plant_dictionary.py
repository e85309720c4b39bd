"""Study stage: explain sparse dictionaries with known directions, and dictionaries of random directions.

The planted dictionary has one direction for each attribute value (object, colour, texture, background): the ridge
regression of the value on the activations of the probe images. Both dictionaries are files in the format of SAELens
(TopK), so that everything from reading the file to the words is measured.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from falcon_dvc import paths
from falcon_dvc.activations.stored import open_rows
from falcon_dvc.artifacts.formats import read_array, read_table, write_table
from falcon_dvc.concepts.words.listing import listed_words
from falcon_dvc.evaluation.ground_truth import attributes_of, names_of_attributes
from falcon_dvc.params.schema import Params
from falcon_dvc.synthetic.scenes.scenes import CLASSIFIED, VALUES
from stages import fit_basis
from worlds import run_stages
from worlds.dictionary_file import write_topk
from worlds.worlds import params_of, read_world, scratch

PENALTY = 1e-3  # of the ridge regression, as a share of the activations' variance
ACTIVE = 8  # latents at each position of a map
POSITIONS_OF = 1000  # images whose positions set the scale of each latent
PLANTED = [(kind, value) for kind in CLASSIFIED for value in VALUES[kind]]


def run(name: str) -> None:
    """Write ``tables/NAME_dictionary.csv``: for each latent of both dictionaries, its first word and whether it is right."""
    world = read_world(name)
    params = run_stages.without_training(params_of(world))
    encoder = next(encoder for encoder, spec in world.encoders.items() if spec.objective == "supervised")
    with scratch() as home:
        run_stages.borrow_models(home, name, params)
        run_stages.prepare(params)
        fit_basis.run(params, encoder)
        run_stages.extract_activations.run(params, encoder)
        parts = [_explained(params, encoder, kind, rows) for kind, rows in _dictionaries(params, encoder).items()]
        write_table(home / "tables" / f"{name}_dictionary.csv", pd.concat(parts).assign(world=name, role=world.role))


def _dictionaries(params: Params, encoder: str) -> dict[str, Float[np.ndarray, "latents channels"]]:
    """Return the directions of both dictionaries."""
    images = read_table(paths.IMAGES)
    probe = _probe(images)
    attributes = attributes_of(images["image"].iloc[probe], params.data.images)
    values = np.stack([attributes[kind, value].to_numpy() for kind, value in PLANTED], axis=1)
    features = open_rows(paths.activations(encoder) / "features").rows(probe).astype(np.float64)
    shape = (len(PLANTED), features.shape[1])
    return {
        "planted": directions_of(features, values),
        "random": np.random.default_rng(params.render_scenes.seed).normal(size=shape),
    }


def directions_of(
    features: Float[np.ndarray, "images channels"], values: Float[np.ndarray, "images values"]
) -> Float[np.ndarray, "values channels"]:
    """Fit one direction for each column of 0 and 1 by ridge regression."""
    from sklearn.linear_model import Ridge

    penalty = PENALTY * len(features) * features.var(axis=0).mean()
    return Ridge(alpha=penalty).fit(features, values.astype(float)).coef_


def _explained(params: Params, encoder: str, kind: str, directions: np.ndarray) -> pd.DataFrame:
    """Explain the latents of a dictionary; one row for each."""
    write_topk(Path(kind), directions, _positions(encoder), ACTIVE)
    spec = params.encoders[encoder].model_dump() | {"basis": {"sae": kind}}
    varied = run_stages.varied(params, {"encoders": {kind: spec}, "find_groups": {"max_groups": 0}})
    fit_basis.run(varied, kind)
    run_stages.explain(varied, kind)
    words = listed_words(read_table(paths.concepts(kind) / "concepts.parquet"))
    first = [(words.get(f"f{latent}") or [""])[0] for latent in range(len(PLANTED))]
    names = names_of_attributes(read_table(f"{params.data.images}/lexicon.parquet"))
    right = [word in names[attribute] for word, attribute in zip(first, PLANTED, strict=True)]
    table = pd.DataFrame(PLANTED, columns=["kind", "value"])
    return table.assign(dictionary=kind, latent=range(len(PLANTED)), first_word=first, right=right)


def _positions(encoder: str) -> Float[np.ndarray, "positions channels"]:
    """Read the activations at each position of the first probe images."""
    first = _probe(read_table(paths.IMAGES))[:POSITIONS_OF]
    maps = read_array(paths.activations(encoder) / "maps.npy")[first].astype(np.float64)
    return maps.transpose(0, 2, 3, 1).reshape(-1, maps.shape[1])


def _probe(images: pd.DataFrame) -> np.ndarray:
    return np.flatnonzero(images["split"] == "probe")
