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
from falcon_dvc.artifacts.formats import read_table, write_table
from falcon_dvc.concepts.words.listing import listed_words
from falcon_dvc.evaluation.ground_truth import names_of_attributes
from falcon_dvc.params.schema import Params
from falcon_dvc.synthetic.scenes.scenes import CLASSIFIED, VALUES
from stages import fit_basis
from worlds import run_stages
from worlds.dictionary_file import write_topk
from worlds.probe_directions import Probe, directions_of, in_basis, supervised

ACTIVE = 8  # latents at each position of a map
PLANTED = [(kind, value) for kind in CLASSIFIED for value in VALUES[kind]]


def run(name: str) -> None:
    """Write ``tables/NAME_dictionary.csv``: for each latent of both dictionaries, its first word and whether it is right."""
    with supervised(name) as (home, world, params, probe):
        vectors = probe.positions.reshape(-1, probe.features.shape[1])
        parts = []
        for kind, directions in _dictionaries(probe, world.seed).items():
            write_topk(Path(kind), directions, vectors, ACTIVE)
            parts.append(_explained(params, probe.encoder, kind))
        write_table(home / "tables" / f"{name}_dictionary.csv", pd.concat(parts).assign(world=name, role=world.role))


def _dictionaries(probe: Probe, seed: int) -> dict[str, Float[np.ndarray, "latents channels"]]:
    """Return the directions of both dictionaries."""
    values = np.stack([probe.attributes[kind, value].to_numpy() for kind, value in PLANTED], axis=1)
    shape = (len(PLANTED), probe.features.shape[1])
    return {"planted": directions_of(probe.features, values), "random": np.random.default_rng(seed).normal(size=shape)}


def _explained(params: Params, encoder: str, kind: str) -> pd.DataFrame:
    """Explain the latents of the dictionary in the folder `kind`; one row for each."""
    varied = in_basis(params, encoder, kind, {"sae": kind})
    fit_basis.run(varied, kind)
    run_stages.explain(varied, kind)
    words = listed_words(read_table(paths.concepts(kind) / "concepts.parquet"))
    first = [(words.get(f"f{latent}") or [""])[0] for latent in range(len(PLANTED))]
    names = names_of_attributes(read_table(f"{params.data.images}/lexicon.parquet"))
    right = [word in names[attribute] for word, attribute in zip(first, PLANTED, strict=True)]
    table = pd.DataFrame(PLANTED, columns=["kind", "value"])
    return table.assign(dictionary=kind, latent=range(len(PLANTED)), first_word=first, right=right)
