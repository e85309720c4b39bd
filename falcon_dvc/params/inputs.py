"""Checks of params that need files or names beside the schema, all of them before any stage runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from falcon_dvc.errors import UserError
from falcon_dvc.models.open_clip import FOLDER
from falcon_dvc.paths import DATA, MODELS, SCENES, TRAINING
from falcon_dvc.placeholders import existing, files_in, refuse_placeholders

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params, RenderScenes, Section

FILES = ("checkpoint", "head", "sentences", "pairs", "images")  # keys of encoders that name a file or folder
PLANTED = {
    "shortcut": {"object": "object", "background": "background", "lookalike": "object"},
    "cooccurrence": {"object": "object", "background": "background"},
}


def check_inputs(params: Params) -> int:
    """Check that the files which params name exist, and that plants have known names; return the number of files.

    Files that stages write are left out: they need not exist before the first run.

    Raises
    ------
    UserError
        If a file is missing or a placeholder (a pointer of Git LFS, a web page), or a plant has an unknown name.
    """
    if params.worlds:
        check_plants(params.render_scenes)
    own = _written_by_stages(params)
    named = [(key, path) for key, path in _named_files(params) if not any(path.is_relative_to(one) for one in own)]
    for key, path in named:
        existing(path, f"params.yaml: {key}")
        if key != "data.images" or path.is_file():  # of pictures, a few damaged ones may be skipped
            refuse_placeholders(files_in(path), f"params.yaml: {key}")
    return len(named)


def unread_checkpoints(params: Params) -> list[str]:
    """Return a remark for each ``checkpoint`` that DVC watches although the weights come from elsewhere."""
    from falcon_dvc.params.schema import Weights

    networks = {"image_text": params.image_text, **{f"encoders.{name}": spec for name, spec in params.encoders.items()}}
    return [
        f"{key}.checkpoint: {spec.checkpoint} is not loaded, as the weights come from {spec.elsewhere}; DVC only watches it"
        for key, spec in networks.items()
        if isinstance(spec, Weights) and spec.unread
    ]


def check_plants(section: RenderScenes) -> None:
    """Refuse plants with names that the synthetic data set does not have.

    Raises
    ------
    UserError
        If a name is unknown.
    """
    from falcon_dvc.synthetic.scenes.scenes import VALUES

    for plant, kinds in PLANTED.items():
        for key, kind in kinds.items():
            value = getattr(getattr(section, plant), key)
            if value not in VALUES[kind]:
                known = ", ".join(VALUES[kind])
                raise UserError(f"params.yaml: render_scenes.{plant}.{key} is {value!r}, must be one of {known}")


def _written_by_stages(params: Params) -> list[Path]:
    """List the inputs that a stage of this run writes."""
    rendered = [SCENES, TRAINING, MODELS / "clip.safetensors"] if params.worlds else []
    return [
        *rendered,
        *(MODELS / f"{name}.safetensors" for name in params.train),
        DATA / "generated",
        DATA / "alignments",
    ]


def _named_files(params: Params) -> Iterator[tuple[str, Path]]:
    """Yield each param that names a file or folder, and its path."""
    yield "data.images", Path(params.data.images)
    yield "data.captions", Path(params.data.captions)
    if params.data.source == "list" and params.data.list:
        yield "data.list", Path(params.data.images) / params.data.list
    yield from _files_of("image_text", params.image_text)
    for name, encoder in params.encoders.items():
        yield from _files_of(f"encoders.{name}", encoder)
    for name, alignment in params.alignments.items():
        yield from _files_of(f"alignments.{name}", alignment)
        for number, tower in enumerate(alignment.towers):
            yield from _files_of(f"alignments.{name}.towers.{number}", tower)
    if params.evaluate_human_captions.encoders:
        yield from _files_of("evaluate_human_captions", params.evaluate_human_captions)
    if params.generate_captions.encoders:
        yield from _files_of("generate_captions", params.generate_captions)


def _files_of(place: str, section: Section) -> Iterator[tuple[str, Path]]:
    """Yield the files of a network, and those of the classifier inside it."""
    values: dict[str, Any] = vars(section)
    if str(values.get("name")).startswith(FOLDER):
        yield f"{place}.name", Path(values["name"].removeprefix(FOLDER))
    yield from ((f"{place}.{key}", Path(values[key])) for key in FILES if isinstance(values.get(key), str))
    if getattr(values.get("basis"), "file", None) is not None:
        yield f"{place}.basis.{values['basis'].source}", Path(values["basis"].file)
    if values.get("classifier") is not None:
        yield from _files_of(f"{place}.classifier", values["classifier"])
