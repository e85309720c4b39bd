"""Read weights of open_clip's networks from files in all formats in which they are published, and load them."""

import pickle
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from falcon_dvc.errors import UserError, one_line
from falcon_dvc.models.encoders.checkpoint_files import pickled_networks, read_checkpoint, refuse_network
from falcon_dvc.models.encoders.released_checkpoints import COUNTER, match
from falcon_dvc.models.open_clip.releases import Clues
from falcon_dvc.models.open_clip.torchscript import is_torchscript, read_torchscript

OPENAI = ("input_resolution", "context_length", "vocab_size")  # numbers beside the weights of OpenAI's files
NOT_NEEDED = ("logit_scale", "logit_bias")  # embeddings do not depend on them
CONVERT = "torch.save(torch.jit.load(FILE).state_dict(), 'NAME.pt')"


def read_weights(path: str | Path) -> Any:
    """Read the content of a file of weights, without running code.

    Raises
    ------
    UserError
        If the file is missing or damaged, or holds objects that only pickle can read.
    """
    if not Path(path).is_file() or not is_torchscript(path):
        return read_checkpoint(path)
    try:
        return read_torchscript(path)
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, KeyError, ValueError) as error:
        raise UserError(
            f"{path}: a TorchScript archive whose tensors cannot be read without its code ({one_line(error)}); "
            f"where you trust it, convert it: {CONVERT}"
        ) from error


def clues_of(content: Any) -> Clues:
    """Return what the content of a file says about its release."""
    table = _fullest(content)
    trained = isinstance(content, Mapping) and {"epoch", "state_dict"} <= set(content)
    return Clues(openai=set(OPENAI) <= set(table), training=trained)


def converted(model: nn.Module, content: Any) -> dict[str, Tensor]:
    """Return the tensors of a file by the names of a model of open_clip.

    Nesting and prefix are detected, as `released_checkpoints` does. open_clip's own functions convert older names,
    Apple's names, and position embeddings of other sizes.

    Parameters
    ----------
    model : open_clip.CLIP
        Or another model of open_clip.
    content
        From `read_weights`.
    """
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed

    table = convert_state_dict(model, _unwrapped(model, content))
    if "positional_embedding" in table and not hasattr(model, "positional_embedding"):
        table = convert_to_custom_text_state_dict(table)
    own = model.state_dict()
    table = {key: value for key, value in table.items() if key not in OPENAI and not key.endswith("position_ids")}
    for key in set(NOT_NEEDED) & set(table) & set(own):
        if table[key].numel() == own[key].numel():
            table[key] = table[key].reshape(own[key].shape)
    for resize in (resize_pos_embed, resize_text_pos_embed):
        with suppress(
            AssertionError
        ):  # embeddings of another width belong to another network, which `load_weights` names
            resize(table, model)
    return table


def _unwrapped(model: nn.Module, content: Any) -> dict[str, Tensor]:
    """Return the table of tensors that has most of the model's names, without the prefix of its keys."""
    found = match(content, {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()})
    if not found.taken:
        return _fullest(content)
    table = content
    for key in filter(None, found.nesting.split(".")):
        table = table[key]
    inside = {key: value for key, value in table.items() if isinstance(value, Tensor) and key.startswith(found.prefix)}
    return {key.removeprefix(found.prefix): value for key, value in inside.items()}


def _fullest(content: Any) -> dict[str, Tensor]:
    """Return the table with most tensors among a file's content and what is nested in it."""
    if not isinstance(content, Mapping):
        return {}
    tables = [content, *(value for value in content.values() if isinstance(value, Mapping))]
    only = [{str(key): value for key, value in table.items() if isinstance(value, Tensor)} for table in tables]
    return max(only, key=len)


def load_weights(model: nn.Module, content: Any, path: str | Path, name: str) -> None:
    """Load all weights of a model of open_clip.

    Parameters
    ----------
    model : open_clip.CLIP
        Or another model of open_clip.
    content
        From `read_weights`.
    path : path
        The file.
    name : str
        The architecture, for errors.

    Raises
    ------
    UserError
        If tensors are missing, are not of this model, have another shape, or hold values that are not finite.
    """
    table, own = converted(model, content), model.state_dict()
    missing = [key for key in own if key not in table and key not in NOT_NEEDED and not key.endswith(COUNTER)]
    misfits = [key for key in own if key in table and table[key].shape != own[key].shape]
    foreign = [key for key in table if key not in own and key not in NOT_NEEDED]
    if not set(table) & set(own) and (networks := pickled_networks(content)):
        refuse_network(path, networks[0])
    if missing or misfits or foreign:
        raise UserError(_misfit(path, name, table, own, missing, misfits, foreign))
    if not all(bool(tensor.isfinite().all()) for tensor in table.values() if tensor.is_floating_point()):
        raise UserError(f"{path}: holds values that are not finite; use another checkpoint")
    model.load_state_dict({key: value for key, value in table.items() if key in own}, strict=False)


def _misfit(
    path: str | Path,
    name: str,
    table: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    missing: list[str],
    misfits: list[str],
    foreign: list[str],
) -> str:
    """Say why a table of tensors is not that of a model."""
    if any(key.startswith(("vision_model.", "text_model.")) for key in foreign):
        return (
            f"{path}: weights in the names of transformers, not of open_clip; use the file of the same release for "
            "open_clip (for OpenAI's CLIPs: open_clip_model.safetensors of timm's repositories, or OpenAI's own file)"
        )
    why = f"first missing: '{missing[0]}'" if missing else f"'{(misfits or foreign)[0]}' has another shape"
    if not missing and not misfits:
        why = f"'{foreign[0]}' belongs to another network"
    fitting = sum(key in table and table[key].shape == own[key].shape for key in own)
    what, convert = "", ""
    if Path(path).is_file() and is_torchscript(path):
        what, convert = "a TorchScript archive that ", f", or convert it where you trust it: {CONVERT}"
    return (
        f"{path}: {what}holds {fitting} of the {len(own)} tensors of {name} ({why}); "
        f"name the architecture that the file is of{convert}"
    )
