"""Sparse autoencoders of SAE-V (``saev``): ``sae.pt``, whose first line is JSON, followed by the state dict."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import torch

from falcon_dvc.errors import UserError, one_line
from falcon_dvc.models.bases.released import Release, Tensors, known, natural

ACTIVATIONS = {"relu": "relu", "topk": "topk_signed", "batchtopk": "jumprelu"}
NEWEST = 5  # schema
LONGEST = 1_000_000  # bytes of the first line


def read_sae_v(path: Path) -> Release:
    """Read a file of SAE-V.

    Raises
    ------
    UserError
        If it is cut, needs code to be read, or names something that is not supported.
    """
    with path.open("rb") as file:
        header, body = _header(path, file.readline(LONGEST)), file.read()
    tensors = _tensors(path, body)
    name, params = _activation(header)
    activation = known(name, ACTIVATIONS, path, "activation")
    k = natural(params.get("top_k"), path, "top_k") if activation == "topk_signed" else 0
    threshold = tensors.pop("activation.threshold", None)
    remarks = []
    if activation == "jumprelu":
        if threshold is None or threshold.numel() != 1 or not float(threshold) > 0:
            activation, threshold = "relu", None
            remarks = ["BatchTopK without a threshold in the file: ReLU is used, as SAE-V does"]
        elif "b_enc" in tensors:
            tensors["threshold"] = threshold.float().reshape(1).expand(len(tensors["b_enc"])).contiguous()
    return Release(path, "SAE-V", tensors, activation, k, subtracts=False, remarks=remarks)


def _header(path: Path, line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: its first line is no header of SAE-V ({one_line(error, 60)}); download it again"
        ) from error
    schema = header.get("schema", 0) if isinstance(header, dict) else None
    if schema not in range(NEWEST + 1):
        raise UserError(f"{path}: schema {schema!r} of SAE-V is unknown; known are 1 to {NEWEST}")
    return header


def _activation(header: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return name and values of the activation function. Before schema 1 there is ReLU only."""
    content = header.get("cfg")
    config: dict[str, Any] = content if isinstance(content, dict) else {}
    found = config.get("activation")
    if isinstance(found, dict):
        params = found.get("params")
        return str(found.get("cls")), params if isinstance(params, dict) else {}
    if header.get("cls", "SparseAutoencoderConfig") != "SparseAutoencoderConfig":
        return str(header["cls"]), {"top_k": config.get("top_k", 32)}
    return "Relu", {}


def _tensors(path: Path, body: bytes) -> dict[str, torch.Tensor]:
    try:
        content = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: holds objects beside its tensors (reading them could run code); where you trust it, save it again "
            "with saev.nn.dump"
        ) from error
    except Exception as error:  # torch's reader raises anything on a damaged file: RuntimeError, EOFError, ...
        reason = one_line(str(error).strip().split("\n")[0])
        raise UserError(f"{path}: not a readable file of SAE-V ({reason}); download it again") from error
    tensors: Tensors = content if isinstance(content, dict) else {}
    return {name: tensor for name, tensor in tensors.items() if isinstance(tensor, torch.Tensor)}
