"""Run the stages of the default run in the current folder, for a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from falcon_dvc.params.load import merge, validated
from falcon_dvc.params.schema import Params
from stages import (
    build_caption_index,
    caption_images,
    collect_images,
    decide_explained,
    embed_images,
    extract_activations,
    extract_references,
    find_groups,
    measure_explainability,
    measure_faithfulness,
    mine_crops,
    parse_captions,
    render_scenes,
    score_concepts,
)

LEAST = 16  # images of each training split, which a study of trained encoders does not need


def borrow_models(home: Path, world: str, params: Params) -> None:
    """Link the world's encoders and the default run's image-text encoder into the folder models, where the stages read them."""
    Path("models").mkdir(exist_ok=True)
    for checkpoint in [*(home / "models" / world).glob("*.safetensors"), home / ".." / params.image_text.checkpoint]:
        (Path("models") / checkpoint.name).symlink_to(checkpoint.resolve())


def without_training(params: Params) -> Params:
    """Return params without the images that only training needs. The other splits do not change."""
    return varied(params, {"render_scenes": {"encoder_train": LEAST, "clip_train": LEAST}})


def varied(params: Params, overlay: dict[str, Any]) -> Params:
    """Return params with values replaced by `overlay` (a JSON merge patch, as a profile), validated again."""
    content = params.model_dump(mode="python")
    merge(content, overlay)
    return validated(content)


def prepare(params: Params) -> None:
    """Make the images and captions, and compare them."""
    render_scenes.run(params)
    collect_images.run(params)
    embed_images.run(params)
    read_captions(params)


def read_captions(params: Params) -> None:
    """Build the caption index, parse the words of every caption, and caption the whole images."""
    build_caption_index.run(params)
    parse_captions.run(params)
    caption_images.run(params)


def explain(params: Params, encoder: str) -> bool:
    """Run the stages from activations to concepts; return False if no feature has enough images."""
    extract_activations.run(params, encoder)
    return explain_again(params, encoder)


def explain_again(params: Params, encoder: str) -> bool:
    """Run the stages from groups to concepts; return False if no feature has enough images."""
    try:
        find_groups.run(params, encoder)
    except find_groups.NothingFiresError:
        return False
    mine_crops.run(params, encoder)
    score_concepts.run(params, encoder)
    return True


def measure(params: Params) -> None:
    """Measure the coherence of all encoders' crops, and decide which features are explained, if there are controls."""
    for encoder in params.encoders:
        measure_explainability.run(params, encoder)
    if len(params.without_controls) == len(params.encoders):
        return
    for encoder in params.without_controls:
        extract_references.run(params, encoder)
    for encoder in params.encoders:
        measure_faithfulness.run(params, encoder)
    decide_explained.run(params)
