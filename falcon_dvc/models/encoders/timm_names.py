"""Names of networks as timm uses or used them: tags, old names, and repositories of the Hugging Face hub."""

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from falcon_dvc.errors import UserError

HUBS = ("hf-hub", "hf_hub")
OWNER = "timm/"  # of the repositories that hold the weights of timm's own list
SHOWN = 8  # names in an error


def known_name(spec: Any, param: str) -> str:
    """Return the name, with its tag, by which this version of timm builds the network of an entry in ``encoders``.

    Names of timm's own repositories and names of earlier versions become those of today. Nothing is downloaded.

    Raises
    ------
    UserError
        If timm does not know the name, or the name has no such tag or no weights. The message lists those that exist.
    """
    name = _without_owner(spec.name)
    if _repository(name):
        return _with_weights(name, spec, param)
    if name.startswith("local-dir:"):
        raise UserError(_folder(name.removeprefix("local-dir:"), param))
    return _tagged(_current(name), spec, param)


def remark(spec: Any, param: str) -> str:
    """Say which network timm builds, if it has another name than in the params; "" if not."""
    name = known_name(spec, param)
    return "" if name == spec.name else f"timm's name of {spec.name} is {name}"


def _repository(name: str) -> bool:
    return name.partition(":")[0].lower() in HUBS


def _without_owner(name: str) -> str:
    """Return the name of a network from the name of timm's own repository, if timm lists it; else the name itself."""
    bare = name.partition(":")[2] if _repository(name) else name
    own = bare.removeprefix(OWNER)
    return own if own != bare and _listed(own.partition(".")[0]) else name


def _with_weights(name: str, spec: Any, param: str) -> str:
    """Return the name of a repository, whose configuration timm reads together with the weights."""
    if spec.weights != "pretrained":
        raise UserError(
            f"{param}: '{name}' is a repository of the hub, which is read with weights: pretrained only; for weights: "
            f"{spec.weights} set name to the architecture in its config.json"
        )
    return name


def _listed(architecture: str) -> bool:
    from timm.models import is_model

    return is_model(architecture)


def _current(name: str) -> str:
    """Return today's name for one of an earlier version of timm. An own tag replaces the tag of today's name."""
    from timm.models import get_deprecated_models

    old, _, tag = name.partition(".")
    current = get_deprecated_models().get(old) or old
    return f"{current.partition('.')[0]}.{tag}" if tag else current


def _tagged(name: str, spec: Any, param: str) -> str:
    """Check a name and its tag against timm's list."""
    from timm import list_models, list_pretrained
    from timm.models import get_arch_pretrained_cfgs

    architecture, _, tag = name.partition(".")
    if architecture not in list_models():
        raise UserError(f"{param}: timm's model '{spec.name}' is unknown; {_nearest(architecture, list_models())}")
    released = list_pretrained(f"{architecture}.*")
    if spec.weights == "pretrained" and not released:
        raise UserError(
            f"{param}: timm has no pretrained weights of '{architecture}'; name a checkpoint, or set weights to random"
        )
    tags = released if spec.weights == "pretrained" else list(get_arch_pretrained_cfgs(architecture))
    if tag and name not in tags:
        raise UserError(f"{param}: timm's model '{architecture}' has no tag '{tag}'; {_choice(architecture, tags)}")
    return name


def _choice(architecture: str, tags: Sequence[str]) -> str:
    """List the names with a tag, and the name without one."""
    more = f" and {len(tags) - SHOWN} more" if len(tags) > SHOWN else ""
    with_tag = f", or one of {', '.join(tags[:SHOWN])}{more}" if tags and tags != [architecture] else ""
    return f"use {architecture}{with_tag}"


def _nearest(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name.casefold(), names, n=3)
    if close:
        return f"use for instance {', '.join(close)}"
    if "/" in name:
        return f"for a repository of the hub, set name to hf-hub:{name} and weights to pretrained"
    return "timm.list_models() lists the names"


def _folder(folder: str, param: str) -> str:
    """Say how to name the network and the file of a folder that timm saved."""
    try:
        architecture = str(json.loads((Path(folder) / "config.json").read_text())["architecture"])
    except (OSError, ValueError, KeyError, TypeError):
        architecture = "the architecture"
    return (
        f"{param}: a folder is not a name that DVC can watch; set name to {architecture} and checkpoint to "
        f"{Path(folder) / 'model.safetensors'}"
    )
