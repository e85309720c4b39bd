"""Other image-text encoders (``readers`` in studies/params.yaml), to measure how much the concepts depend on the encoder."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from falcon_dvc.errors import UserError
from falcon_dvc.params.load import read_yaml, validated
from falcon_dvc.params.schema import Count, Natural, Params, Section
from worlds import run_stages
from worlds.worlds import BASE, STUDY


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


def params_of_reader(name: str) -> Params:
    """Return params.yaml with the seeds and sizes of another image-text encoder.

    Raises
    ------
    UserError
        If there is no such encoder.
    """
    known = readers()
    if name not in known:
        raise UserError(f"studies/params.yaml: readers has no '{name}'; known are: {', '.join(known) or 'none'}")
    reader, base = known[name], read_yaml(BASE)
    overlay: dict[str, Any] = {
        "render_scenes": {"seed": reader.seed, "clip_train": reader.images, "encoder_train": run_stages.LEAST},
        "train_clip": reader.model_dump(exclude={"images"}),
    }
    return run_stages.varied(validated(base), overlay)
