"""The default run's stages, one after the other in the current folder, for a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from falcon_dvc.cli.runs import merge
from falcon_dvc.params.load import validated
from falcon_dvc.params.schema import Params
from stages import (
    build_caption_index,
    collect_images,
    extract_activations,
    find_groups,
    measure_explainability,
    mine_crops,
    parse_captions,
    render_scenes,
    score_concepts,
)

LEAST = 16  # images of the training splits, which a study of trained encoders does not need


def borrow_models(home: Path, world: str, params: Params) -> None:
    """Link the world's encoders and the default run's image-text encoder into the current folder, where the stages look for them."""
    Path("models").mkdir(exist_ok=True)
    for checkpoint in [*(home / "models" / world).glob("*.safetensors"), home / ".." / params.image_text.checkpoint]:
        (Path("models") / checkpoint.name).symlink_to(checkpoint.resolve())


def without_training(params: Params) -> Params:
    """Return the same world without the images that only training needs; every split has random numbers of its own."""
    return varied(params, {"render_scenes": {"encoder_train": LEAST, "clip_train": LEAST}})


def varied(params: Params, overlay: dict[str, Any]) -> Params:
    """Params with some values replaced (a JSON merge patch, as a profile's), validated again."""
    content = params.model_dump(mode="python")
    merge(content, overlay)
    return validated(content)


def prepare(params: Params) -> None:
    """Images and captions."""
    render_scenes.run(params)
    collect_images.run(params)
    read_captions(params)


def read_captions(params: Params) -> None:
    """Return the caption index and the words of every caption."""
    build_caption_index.run(params)
    parse_captions.run(params)


def explain(params: Params, encoder: str) -> bool:
    """From activations to concepts; False if no feature has enough images."""
    extract_activations.run(params, encoder)
    return explain_again(params, encoder)


def explain_again(params: Params, encoder: str) -> bool:
    """From groups to concepts; False if no feature has enough images."""
    try:
        find_groups.run(params, encoder)
    except find_groups.NothingFiresError:
        return False
    mine_crops.run(params, encoder)
    score_concepts.run(params, encoder)
    return True


def measure(params: Params, encoder: str) -> None:
    """Coherence of the crops against random ones."""
    measure_explainability.run(params, encoder)
