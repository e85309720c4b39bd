"""Other image-text encoders (``readers`` in studies/params.yaml), to measure how much the concepts depend on the encoder."""

from __future__ import annotations

from typing import Any

from falcon_dvc.errors import UserError
from falcon_dvc.params.load import read_yaml, validated
from falcon_dvc.params.schema import Params
from worlds import run_stages
from worlds.worlds import BASE, readers


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
