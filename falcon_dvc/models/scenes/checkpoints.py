"""Checkpoints of the models that this project trains: safetensors in half precision, with the configuration as metadata."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from falcon_dvc.artifacts.formats import write_bytes
from falcon_dvc.errors import UserError
from falcon_dvc.placeholders import refuse_placeholders

if TYPE_CHECKING:
    from falcon_dvc.models.scenes.small_resnet import SmallResNet

ENCODER_FORMAT, CLIP_FORMAT = "falcon-small-resnet", "falcon-clip"
LARGER = "the checkpoint's configuration describes a larger model than the file holds; use another file"
# Larger than any width, depth or size of these models.
LARGEST = 8192
TOKEN_TABLE = "token_embedding.weight"


def save_encoder(path: str | Path, model: "SmallResNet", metadata: dict[str, Any]) -> None:
    """Save an encoder with its heads.

    Parameters
    ----------
    path
        File to write.
    model
        Encoder.
    metadata
        Origin of the weights, as JSON can hold it.
    """
    _save(path, _half(model.state_dict()), {"format": ENCODER_FORMAT, "config": model.config, "training": metadata})


def load_encoder_checkpoint(path: str | Path) -> "SmallResNet":
    """Load an encoder in evaluation mode.

    Raises
    ------
    UserError
        If the file is missing, is not such a checkpoint, or its tensors do not fit its configuration.
    """
    from falcon_dvc.models.scenes.small_resnet import SmallResNet

    tensors, metadata = _load(path, ENCODER_FORMAT)
    model = _built(path, lambda: SmallResNet(**metadata["config"]), tensors)
    _fill(path, model, tensors)
    return model


def save_clip(path: str | Path, model: nn.Module, config: dict[str, Any]) -> None:
    """Save an image-text encoder whose vocabulary is `config["token_ids"]`.

    Parameters
    ----------
    path
        File to write.
    model
        As from `small_clip.build_clip` with the vocabulary ``len(config["token_ids"])``: row i of its token embedding
        belongs to token ``config["token_ids"][i]`` of open_clip's tokenizer.
    config
        Arguments of `build_clip`, and ``token_ids``.
    """
    settings = {key: value for key, value in config.items() if key != "token_ids"}
    tensors = _half(model.state_dict()) | {"token_ids": torch.tensor(config["token_ids"], dtype=torch.int32)}
    _save(path, tensors, {"format": CLIP_FORMAT, "config": settings})


def load_clip(path: str | Path) -> tuple[nn.Module, Any]:
    """Load an image-text encoder with the full vocabulary. Tokens that do not occur in training get a zero embedding.

    Returns
    -------
    model : open_clip.model.CLIP
        In evaluation mode. `falcon_dvc.models.scenes.small_clip.prepare` makes its input, float (batch, 3, 64, 64).
    tokenizer : open_clip.SimpleTokenizer
        With the model's context length.

    Raises
    ------
    UserError
        If the file is missing, is not such a checkpoint, or its tensors do not fit its configuration.
    """
    from falcon_dvc.models.scenes.small_clip import build_clip, build_tokenizer

    tensors, metadata = _load(path, CLIP_FORMAT)
    tokenizer = build_tokenizer(metadata["config"].get("context"))
    tensors[TOKEN_TABLE] = _scattered(path, tensors, tokenizer.vocab_size)
    model = _built(path, lambda: build_clip(**metadata["config"], vocabulary=tokenizer.vocab_size), tensors)
    _fill(path, model, tensors)
    return model, tokenizer


def _scattered(path: str | Path, tensors: dict[str, Tensor], vocabulary: int) -> Tensor:
    """Spread the kept rows of the token embedding over the whole vocabulary."""
    rows, ids = tensors.get(TOKEN_TABLE), tensors.pop("token_ids", None)
    if (
        rows is None
        or ids is None
        or rows.ndim != 2
        or rows.shape[1] > LARGEST
        or ids.shape != rows.shape[:1]
        or not bool(((ids >= 0) & (ids < vocabulary)).all())
    ):
        raise UserError(f"{path}: the token embedding does not fit open_clip's vocabulary; train the model again")
    table = torch.zeros(vocabulary, rows.shape[1])
    table[ids.long()] = rows.float()
    return table


def _half(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with floats in half precision, all contiguous."""
    return {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous() for name, tensor in state.items()
    }


def _save(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors and metadata. The metadata are JSON, because safetensors holds texts only."""
    from safetensors.torch import save

    texts = {key: json.dumps(value, sort_keys=True) for key, value in metadata.items()}
    write_bytes(path, _in_order(save(tensors, texts)))


def _in_order(content: bytes) -> bytes:
    """Return a safetensors file with sorted metadata, whose order otherwise differs between processes."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # numbers begin at multiples of eight bytes
    return len(text).to_bytes(8, "little") + text + content[end:]


def _load(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors and metadata of a checkpoint of the given format."""
    from safetensors import SafetensorError, safe_open

    refuse_placeholders([path])
    try:
        with safe_open(str(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
            metadata = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a readable safetensors checkpoint ({error})") from error
    if metadata.get("format") != kind or not isinstance(metadata.get("config"), dict):
        raise UserError(
            f"{path}: not a {kind} checkpoint (its format is {metadata.get('format')!r}); name one that this project trained"
        )
    if not all(_within_limits(value) for value in metadata["config"].values()):
        raise UserError(f"{path}: {LARGER}")
    return tensors, metadata


def _within_limits(value: Any) -> bool:
    """Return whether all numbers and lengths of a configuration's value are at most `LARGEST`."""
    if isinstance(value, list):
        return len(value) <= LARGEST and all(map(_within_limits, value))
    return not isinstance(value, (int, float)) or abs(value) <= LARGEST


def _built(path: str | Path, build: Any, tensors: dict[str, Tensor]) -> Any:
    """Build the model of a checkpoint's configuration, first without weights, to refuse a model that is too large."""
    try:
        with torch.device("meta"):
            described = sum(tensor.numel() for tensor in build().state_dict().values())
        if described > sum(tensor.numel() for tensor in tensors.values()):
            raise UserError(f"{path}: {LARGER}")
        return build()
    except (TypeError, KeyError, ValueError, RuntimeError, AttributeError, IndexError) as error:
        raise UserError(f"{path}: the checkpoint's configuration does not describe a model ({error})") from error


def _fill(path: str | Path, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy weights into a model and set it to evaluation mode."""
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise UserError(f"{path}: the checkpoint holds values that are not finite; train the model again")
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).split("\n")[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"{path}: the weights do not fit the model that the file describes ({reason})") from error
    model.to(memory_format=torch.channels_last).eval()
