"""The synthetic data sets ("worlds") of a study: params.yaml with other seeds, run in a temporary folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from falcon_dvc.errors import UserError
from falcon_dvc.params.load import read_yaml, validated
from falcon_dvc.params.schema import Count, Natural, Params, Section, Slug

BASE, STUDY = Path("../params.yaml"), Path("params.yaml")  # as seen from studies/
CLIP_IMAGES = 16  # for the image-text encoder, which is not trained again
MOST_CONTROLS = 10  # of a world
SEEDED = (
    "find_groups",
    "analyse_groups",
    "measure_explainability",
    "measure_faithfulness",
    "evaluate_concepts",
    "transfer",
)
CONTROL = "untrained"  # followed by a number: names of the controls


class StudyEncoder(Section):
    """An encoder of a world. Its settings are those of its objective in params.yaml, except seed and number of features."""

    objective: Literal["supervised", "simclr"]
    features: Count


Variation = Literal[
    "whole_images",
    "without_contrast",
    "score_relative",
    "low_match_released",
    "released_scoring",
    "released",
    "captions_300",
]


class World(Section):
    """A synthetic data set with its encoders.

    Attributes
    ----------
    seed
        Seed of the images and the encoders.
    role
        Use of its numbers: to select variants, or to report.
    variations
        Other settings that are measured too, on the trained encoders.
    controls
        Number of untrained encoders of the first encoder's architecture; 0: nothing is called explained.
    encoders
        The encoders to train.
    """

    seed: Natural
    role: Literal["selection", "reported"]
    variations: list[Variation]
    controls: Annotated[int, Field(ge=0, le=MOST_CONTROLS)]
    encoders: dict[Slug, StudyEncoder] = Field(min_length=1)


def read_world(name: str) -> World:
    """Return a world of studies/params.yaml.

    Raises
    ------
    UserError
        If there is no such world, or it is not valid.
    """
    worlds = read_yaml(STUDY).get("worlds", {})
    if name not in worlds:
        raise UserError(f"studies/params.yaml: worlds has no '{name}'; known are: {', '.join(worlds) or 'none'}")
    try:
        return World.model_validate(worlds[name])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"studies/params.yaml: worlds.{name}.{place}: {first['msg']}") from error


def params_of(world: World) -> Params:
    """Return params.yaml with the seeds and encoders of a world."""
    base: dict[str, Any] = read_yaml(BASE)
    base["render_scenes"] |= {"seed": world.seed, "clip_train": CLIP_IMAGES}
    base["train"] = {name: _training(base["train"], spec, world.seed) for name, spec in world.encoders.items()}
    base["encoders"] = {name: {"kind": "scenes", "checkpoint": f"models/{name}.safetensors"} for name in world.encoders}
    base["encoders"] |= _controls(world)
    base["transfers"] = {}
    for section in ("failures", "ablate_features", "evaluate_units"):
        base[section]["encoders"] = []
    for section in SEEDED:
        base[section]["seed"] = world.seed
    return validated(base)


def _controls(world: World) -> dict[str, dict[str, Any]]:
    """Return the untrained encoders of a world; no two worlds share the seed of one."""
    control = {
        "kind": "scenes",
        "checkpoint": f"models/{next(iter(world.encoders))}.safetensors",
        "weights": "random",
        "control_of": list(world.encoders),
    }
    most = MOST_CONTROLS * world.seed
    return {f"{CONTROL}_{number}": control | {"seed": most + number} for number in range(1, world.controls + 1)}


def _training(train: dict[str, Any], spec: StudyEncoder, seed: int) -> dict[str, Any]:
    section = train[spec.objective]
    return section | {"seed": seed, "widths": [*section["widths"][:-1], spec.features]}


@contextmanager
def scratch() -> Iterator[Path]:
    """Change to an empty temporary folder; yield the original folder, and return to it at the end of the block."""
    home = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="falcon-study-") as folder:
        os.chdir(folder)
        try:
            yield home
        finally:
            os.chdir(home)
