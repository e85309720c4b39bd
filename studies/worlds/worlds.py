"""The synthetic data sets ("worlds") of a study: params.yaml with other seeds, run in a temporary folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from falcon_dvc.errors import UserError
from falcon_dvc.params.load import read_yaml, validated
from falcon_dvc.params.schema import Count, Natural, Params, Section, Slug

BASE, STUDY = Path("../params.yaml"), Path("params.yaml")  # as seen from studies/
CLIP_IMAGES = 16  # for the image-text encoder, which is not trained again


class StudyEncoder(Section):
    """An encoder of a world. Its settings are those of its objective in params.yaml, except seed and number of features."""

    objective: Literal["supervised", "simclr"]
    features: Count


class World(Section):
    """A synthetic data set with its encoders.

    Attributes
    ----------
    seed
        Seed of the images and the encoders.
    role
        Use of its numbers: to select variants, or to report.
    variations
        Whether other settings are measured too.
    encoders
        The encoders to train.
    """

    seed: Natural
    role: Literal["selection", "reported"]
    variations: bool
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


class Reader(Section):
    """An image-text encoder of another seed and size, trained on fewer images of another world."""

    seed: Natural
    images: Count
    width: Count
    embedding: Count


def readers() -> dict[str, Reader]:
    """Return the image-text encoders of studies/params.yaml.

    Raises
    ------
    UserError
        If the settings of one are not valid.
    """
    try:
        return {name: Reader.model_validate(spec) for name, spec in read_yaml(STUDY).get("readers", {}).items()}
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"studies/params.yaml: readers: {first['loc'][0]}: {first['msg']}") from error


def params_of(world: World) -> Params:
    """Return params.yaml with the seeds and encoders of a world."""
    base: dict[str, Any] = read_yaml(BASE)
    base["render_scenes"] |= {"seed": world.seed, "clip_train": CLIP_IMAGES}
    base["train"] = {name: _training(base["train"], spec, world.seed) for name, spec in world.encoders.items()}
    base["encoders"] = {name: {"kind": "scenes", "checkpoint": f"models/{name}.safetensors"} for name in world.encoders}
    base["transfers"] = {}
    for section in ("failures", "evaluate_units"):
        base[section]["encoders"] = []
    for section in ("find_groups", "measure_explainability", "evaluate_concepts", "transfer"):
        base[section]["seed"] = world.seed
    return validated(base)


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
