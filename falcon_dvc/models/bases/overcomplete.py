"""Sparse autoencoders of ``overcomplete``: the state dict of one with an encoder of a single linear layer."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from falcon_dvc.errors import UserError
from falcon_dvc.models.bases.released import Release, Tensors

EPSILON = 1e-5  # of torch's batch normalisation
DICTIONARY = "dictionary._weights"
ARCHETYPAL = ("dictionary.W", "dictionary.C", "dictionary.Relax")


def is_overcomplete(tensors: Tensors) -> bool:
    """Return whether tensors are named as those of ``overcomplete``."""
    return DICTIONARY in tensors or set(ARCHETYPAL) <= set(tensors)


def read_overcomplete(path: Path, tensors: Tensors) -> Release:
    """Return the autoencoder of a state dict.

    Raises
    ------
    UserError
        If its encoder is no linear layer with or without batch normalisation.
    """
    weight, bias = _encoder(path, {name[8:]: tensor for name, tensor in tensors.items() if name.startswith("encoder.")})
    dictionary = _dictionary(tensors)
    found = {"W_enc": weight.T, "b_enc": bias, "W_dec": dictionary, "b_dec": torch.zeros(dictionary.shape[1])}
    if "thresholds" in tensors:
        # The library keeps values from the threshold on; here they must be above it.
        exact = tensors["thresholds"].float().exp()
        found["threshold"] = torch.nextafter(exact, torch.zeros_like(exact))
        return Release(path, "overcomplete", found, "jumprelu", subtracts=False)
    remark = "the file does not say whether it was trained with TopK (set k) or BatchTopK (set threshold): ReLU is used"
    return Release(path, "overcomplete", found, "relu", subtracts=False, remarks=[remark])


def _encoder(path: Path, tensors: Tensors) -> tuple[Tensor, Tensor]:
    """Return weight (features, channels) and bias of the linear layer, with the batch normalisation in them."""
    linear = [name.removesuffix("weight") for name, tensor in tensors.items() if tensor.ndim >= 2]
    if len(linear) != 1 or tensors[f"{linear[0]}weight"].ndim != 2:
        raise UserError(
            f"{path}: its encoder has {len(linear)} layers with weights, and only one linear layer can be read; "
            "save the codes' directions as a matrix (basis: directions), or use another autoencoder"
        )
    weight = tensors[f"{linear[0]}weight"].float()
    bias = tensors.get(f"{linear[0]}bias", torch.zeros(len(weight))).float()
    others = {name for name in tensors if not name.startswith(linear[0])}
    if not others:
        return weight, bias
    norm = next((name.removesuffix("running_var") for name in others if name.endswith("running_var")), None)
    if norm is None:
        raise UserError(
            f"{path}: its encoder normalises with {min(others)}, and only batch normalisation can be read; use another autoencoder"
        )
    factor = tensors.get(f"{norm}weight", torch.ones(len(weight))) / (tensors[f"{norm}running_var"] + EPSILON).sqrt()
    shift = tensors.get(f"{norm}bias", torch.zeros(len(weight))) - tensors[f"{norm}running_mean"] * factor
    return weight * factor[:, None], bias * factor + shift


def _dictionary(tensors: Tensors) -> Tensor:
    """Return the directions of the decoder: unit vectors, or relaxed combinations of points."""
    if DICTIONARY in tensors:
        rows = tensors[DICTIONARY].float()
        return rows / (rows.norm(dim=1, keepdim=True) + 1e-8)
    mixture, points, relaxed = (tensors[name].float() for name in ARCHETYPAL)
    return (mixture @ points + relaxed) * tensors.get("dictionary.multiplier", torch.zeros(())).float().exp()
