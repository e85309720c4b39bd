"""Sparse autoencoders of Prisma (``vit-prisma``): a file of tensors ``*.pt`` beside ``config.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from falcon_dvc.errors import UserError
from falcon_dvc.models.bases.released import Release, Tensors, known, natural, read_config

CONFIG = "config.json"
NORMALISATIONS = {"none": "none", "null": "none", "layer_norm": "layer_norm", "constant_norm_rescale": "unit_norm"}
ACTIVATIONS = {"relu": "relu", "topk": "topk"}
ARCHITECTURES = {"standard": "", "gated": "gated", "jumprelu": "jumprelu"}


def read_prisma(path: Path, tensors: Tensors) -> Release:
    """Return the autoencoder of a file of tensors, with the configuration beside it.

    Raises
    ------
    UserError
        If the configuration is not readable, or names something that is not supported.
    """
    file = path.parent / CONFIG
    config = read_config(file) if file.exists() else {}
    if config.get("is_transcoder"):
        raise UserError(
            f"{file}: is_transcoder, so it predicts another layer and has no features of this one; use a sparse autoencoder"
        )
    architecture = known(config.get("architecture", "standard"), ARCHITECTURES, file, "architecture")
    if "b_gate" in tensors:
        architecture = "gated"
    activation = architecture or known(config.get("activation_fn_str", "relu"), ACTIVATIONS, file, "activation_fn_str")
    kwargs = config.get("activation_fn_kwargs") or {}
    return Release(
        path,
        "Prisma",
        tensors,
        activation,
        natural(kwargs.get("k") if isinstance(kwargs, dict) else None, file, "activation_fn_kwargs.k"),
        known(config.get("normalize_activations", "none"), NORMALISATIONS, file, "normalize_activations"),
        hook=_hook(config),
        remarks=[] if config else [f"{file} is missing: ReLU and inputs without normalisation are assumed"],
    )


def _hook(config: dict[str, Any]) -> str:
    """Name network, layer and tokens of the training."""
    tokens = (
        "class token" if config.get("cls_token_only") else "patches" if config.get("use_patches_only") else "all tokens"
    )
    place = f"blocks.{config.get('hook_point_layer')}.{config.get('layer_subtype')}"
    return f"{config['model_name']}, {place}, {tokens}" if config.get("model_name") else ""
