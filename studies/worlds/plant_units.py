"""Study stage: explain units that respond to two or three things, or to two things only together.

Each unit is a direction in the activations of the supervised encoder with a threshold (a linear layer and a ReLU). The
direction is the ridge regression on the probe images of what the unit shall respond to. The threshold keeps it off on most
positions of the other images. The sets of words that explain the units are compared with what was planted.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from safetensors.numpy import save

from falcon_dvc import paths
from falcon_dvc.activations.stored import open_rows
from falcon_dvc.artifacts.formats import read_table, write_bytes, write_table
from falcon_dvc.concepts.words.sentences import entries
from falcon_dvc.evaluation.ground_truth import attributes_of_words, heldout_attributes, names_of_attributes
from falcon_dvc.evaluation.set_truth import RAISES, agreement, named_attributes
from falcon_dvc.evaluation.statistics import correlations
from falcon_dvc.params.schema import Params
from falcon_dvc.synthetic.scenes.scenes import VALUES
from stages import find_facets, fit_basis
from worlds import run_stages
from worlds.probe_directions import Probe, directions_of, in_basis, supervised

OF_A_KIND = 12  # units
OFF = 0.95  # share of the positions of the other images on which a unit is 0
NAME = "units"
FILE = Path("units.safetensors")


def run(name: str) -> None:
    """Write ``tables/NAME_units.csv``: what each unit was made to respond to, and the set of words that explains it."""
    with supervised(name) as (home, world, params, probe):
        units = drawn(np.random.default_rng(world.seed))
        write_bytes(FILE, save(_layer(probe, shown(units, probe.attributes))))
        _explain(in_basis(params, probe.encoder, NAME, {"directions": str(FILE), "relu": True}))
        write_table(home / "tables" / f"{name}_units.csv", _judged(params, units).assign(world=name, role=world.role))


def drawn(generator: np.random.Generator) -> pd.DataFrame:
    """Draw units: ``kind`` (or, several, and) and ``values``, a list of (kind, value).

    A unit of kind "or" responds to two values of one kind, one of kind "several" to an object, a colour or a background,
    and one of kind "and" to objects of one colour.
    """
    rows = []
    for number in range(OF_A_KIND):
        of = ("object", "colour", "background")[number % 3]
        first, second = generator.choice(VALUES[of], 2, replace=False)
        rows.append(("or", [(of, first), (of, second)]))
        rows.append(
            ("several", [(kind, generator.choice(VALUES[kind])) for kind in ("object", "colour", "background")])
        )
        rows.append(("and", [(kind, generator.choice(VALUES[kind])) for kind in ("object", "colour")]))
    return pd.DataFrame(rows, columns=["kind", "values"])


def shown(units: pd.DataFrame, attributes: pd.DataFrame) -> Bool[np.ndarray, "images units"]:
    """Say which images show what each unit responds to."""
    columns = [
        (np.all if kind == "and" else np.any)([attributes[value].to_numpy() for value in values], axis=0)
        for kind, values in zip(units["kind"], units["values"], strict=True)
    ]
    return np.stack(columns, axis=1)


def _layer(probe: Probe, shows: Bool[np.ndarray, "images units"]) -> dict[str, Float[np.ndarray, "*shape"]]:
    """Fit the weights and biases of the units."""
    weight = directions_of(probe.features, shows)
    scores = probe.positions @ weight.T  # (images, positions, units)
    of_images = shows[: len(scores)]
    limits = [np.quantile(scores[~of_images[:, unit], :, unit], OFF) for unit in range(len(weight))]
    return {"W": np.ascontiguousarray(weight, dtype=np.float32), "b": -np.array(limits, dtype=np.float32)}


def _explain(params: Params) -> None:
    """Run the stages up to the sets of words."""
    fit_basis.run(params, NAME)
    run_stages.explain(params, NAME)
    find_facets.run(params, NAME)


def _judged(params: Params, units: pd.DataFrame) -> pd.DataFrame:
    """Compare the words of each unit with what it responds to, and with what the next unit responds to (control)."""
    names = names_of_attributes(read_table(f"{params.data.images}/lexicon.parquet"))
    table = read_table(paths.table(f"{NAME}_word_sets")).set_index("group")
    attribute_of = attributes_of_words(names)
    following = _correlation(params, units)
    rows = []
    for number, (kind, values) in enumerate(zip(units["kind"], units["values"], strict=True)):
        words, sentence = (str(table[column].get(f"f{number}", "")) for column in ("words", "sentence"))
        named = named_attributes(entries(words), [], attribute_of)
        truth, other = (frozenset((RAISES, value) for value in some) for some in (values, _next(units, number)))
        found = agreement(named, truth)
        rows.append(
            {
                "unit": number, "kind": kind, "values": "; ".join(value for _, value in values), "r": following[number],
                "sentence": sentence, "f1": found["f1"], "exact": found["exact"],
                "relation": float(found["exact"] and (" and " in sentence) == (kind == "and")),
                "control_f1": agreement(named, other)["f1"],
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _next(units: pd.DataFrame, number: int) -> list[tuple[str, str]]:
    """Return what the next unit of the same kind responds to."""
    same = np.flatnonzero(units["kind"] == units["kind"].iloc[number])
    return units["values"].iloc[same[(np.searchsorted(same, number) + 1) % len(same)]]


def _correlation(params: Params, units: pd.DataFrame) -> Float[np.ndarray, " units"]:
    """Correlate each unit with what it was made to respond to, on held-out images."""
    rows, attributes = heldout_attributes(params.data.images)
    activations = open_rows(paths.groups(NAME) / "activations").rows(rows)
    return np.diag(correlations(activations, shown(units, attributes)))
