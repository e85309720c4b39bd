"""Sparse autoencoders of SAELens: a folder with ``cfg.json`` and ``sae_weights.safetensors``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from falcon_dvc.models.bases.released import Release, Tensors, known, natural, read_config

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
ARCHITECTURES = {"standard": "relu", "topk": "topk", "jumprelu": "jumprelu", "gated": "gated"}
NORMALISATIONS = {
    "none": "none",
    "false": "none",
    "layer_norm": "layer_norm",
    "constant_norm_rescale": "unit_norm",
    "expected_average_only_in": "none",
}
UNKNOWN_SCALE = (
    "trained on inputs that were scaled to a mean norm of sqrt(channels) (expected_average_only_in), and the file holds no "
    "factor; set scale of the basis if the explained variance is low"
)


def read_saelens(path: Path, tensors: Tensors) -> Release:
    """Return the autoencoder of a file of tensors, with the configuration beside it.

    Raises
    ------
    UserError
        If the configuration is not readable, or names something that is not supported.
    """
    file = path.parent / CONFIG
    config = read_config(file)
    activation = known(config.get("architecture", "standard"), ARCHITECTURES, file, "architecture")
    kwargs = config.get("activation_fn_kwargs")
    k = config.get("k", kwargs.get("k") if isinstance(kwargs, dict) else None)
    if activation == "relu":  # releases of SAELens before version 6 name TopK here
        names = {"relu": "relu", "topk": "topk", "none": "relu"}
        activation = known(
            config.get("activation_fn_str", config.get("activation_fn", "relu")), names, file, "activation_fn"
        )
    how = config.get("normalize_activations", "none")
    return Release(
        path,
        "SAELens",
        _with_norms_of_decoder(tensors) if config.get("rescale_acts_by_decoder_norm") else tensors,
        activation,
        natural(k, file, "k") if activation == "topk" else 0,
        known(how, NORMALISATIONS, file, "normalize_activations"),
        bool(config.get("apply_b_dec_to_input", True)),
        _hook(config),
        [UNKNOWN_SCALE] if how == "expected_average_only_in" else [],
    )


def _with_norms_of_decoder(tensors: Tensors) -> Tensors:
    """Scale each feature by the norm of its direction in the decoder, as a training with this option does at run time."""
    if not {"W_dec", "W_enc", "b_enc"} <= set(tensors):
        return tensors
    norms = tensors["W_dec"].float().norm(dim=-1)
    scaled = {
        "W_enc": tensors["W_enc"] * norms,
        "b_enc": tensors["b_enc"] * norms,
        "W_dec": tensors["W_dec"] / norms[:, None],
    }
    return {**tensors, **scaled}


def _hook(config: dict[str, Any]) -> str:
    meta = config.get("metadata") or config.get("meta") or config
    names = [meta.get("model_name"), meta.get("hook_name")] if isinstance(meta, dict) else []
    return ", ".join(str(name) for name in names if name)
