"""What the files of sparse autoencoders have in common: names and shapes of their tensors, and their check."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from falcon_dvc.errors import UserError, one_line
from falcon_dvc.models.bases.basis import Basis

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Release:
    """A sparse autoencoder as its file holds it, in the words of this project.

    Attributes
    ----------
    path : Path
        The file.
    layout : str
        Which library wrote it.
    tensors : dict of str to Tensor
        ``W_enc`` (channels, features), ``b_enc``, ``W_dec`` (features, channels), ``b_dec``, and if needed ``threshold``,
        ``b_gate``, ``r_mag``, ``b_mag``.
    activation : str
        One of `ACTIVATIONS`.
    k : int
        Of TopK; 0 if the file does not say it.
    normalisation : str
        One of `NORMALISATIONS`.
    subtracts : bool
        Whether ``b_dec`` is subtracted from the input.
    hook : str
        Where in which network it was trained, in the words of the release; "" if the file does not say it.
    remarks : list of str
        What the file leaves open.
    """

    path: Path
    layout: str
    tensors: Tensors
    activation: str
    k: int = 0
    normalisation: str = "none"
    subtracts: bool = True
    hook: str = ""
    remarks: list[str] = field(default_factory=list)

    @property
    def description(self) -> dict[str, Any]:
        """What is known about it, as JSON can hold it."""
        return {"format": self.layout, "file": str(self.path), "trained_on": self.hook, "remarks": self.remarks}


def basis_of(release: Release, scale: float = 1.0) -> Basis:
    """Check a sparse autoencoder and return its basis.

    Parameters
    ----------
    release : Release
        As its file holds it.
    scale : float
        Factor of the input.

    Raises
    ------
    UserError
        If a tensor is missing, has another shape or holds values that are no numbers.
    """
    path, tensors = release.path, {name: tensor.float() for name, tensor in release.tensors.items()}
    gated = release.activation == "gated"
    needed = {"W_enc", "W_dec", "b_dec"} | ({"b_gate", "r_mag", "b_mag"} if gated else {"b_enc"})
    needed |= {"threshold"} if release.activation == "jumprelu" else set()
    _require(path, tensors, needed)
    channels, features = len(tensors["b_dec"]), len(tensors["b_gate" if gated else "b_enc"])
    shapes = {"W_enc": (channels, features), "W_dec": (features, channels), "b_dec": (channels,)}
    for name in sorted(needed):
        check_tensor(path, name, tensors[name], shapes.get(name, (features,)))
    if release.activation.startswith("topk") and release.k < 1:
        raise UserError(f"{path}: is a TopK autoencoder, but no k is known; set k of the basis to that of its training")
    offset = tensors["b_dec"] / scale
    return Basis(
        weight=tensors["W_enc"] * scale,
        bias=tensors["b_mag" if gated else "b_enc"],
        decoder=tensors["W_dec"] / scale,
        offset=offset,
        before=offset if release.subtracts else None,
        threshold=tensors["threshold"] if release.activation == "jumprelu" else None,
        gate=tensors["b_gate"] if gated else None,
        magnitude=tensors["r_mag"].exp() if gated else None,
        activation=release.activation,
        k=release.k if release.activation.startswith("topk") else 0,
        normalisation=release.normalisation,
        description=release.description,
    )


def _require(path: Path, tensors: Tensors, needed: set[str]) -> None:
    missing = sorted(needed - set(tensors))
    if missing:
        held = ", ".join(sorted(tensors)[:8]) or "none"
        raise UserError(
            f"{path}: lacks the tensor {missing[0]} of a sparse autoencoder (it holds {held}); use the file of the release"
        )
    for name in ("b_dec", "b_enc", "b_gate"):
        if name in needed and tensors[name].ndim != 1:
            raise UserError(f"{path}: {name} has the shape {shown(tensors[name])}; it must be a vector")


def check_tensor(path: Path, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a tensor of another shape, or one with values that are no numbers.

    Raises
    ------
    UserError
        With the transposed shape in particular.
    """
    if tuple(tensor.shape) != shape:
        expected = " x ".join(map(str, shape))
        if tensor.ndim == 2 and tuple(tensor.T.shape) == shape:
            raise UserError(
                f"{path}: {name} is {shown(tensor)}, transposed; save {name}.T, which is {expected} "
                "(W_enc: channels x features, W_dec: features x channels)"
            )
        raise UserError(
            f"{path}: {name} is {shown(tensor)}, but the biases need {expected}; use a file of one training"
        )
    if not bool(torch.isfinite(tensor).all()):
        raise UserError(f"{path}: {name} holds values that are NaN or infinite; download the file again")


def shown(tensor: Tensor) -> str:
    """Return the shape of a tensor in words."""
    return " x ".join(map(str, tensor.shape)) or "a single number"


def read_config(path: Path) -> dict[str, Any]:
    """Read the configuration of a release.

    Raises
    ------
    UserError
        If it is missing or no JSON object.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a readable configuration ({one_line(error)}); download it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: is no JSON object, so no configuration of a sparse autoencoder; download it again")
    return content


def known(value: Any, names: Mapping[str, str], path: Path, key: str) -> str:
    """Translate a value of a configuration.

    Raises
    ------
    UserError
        If it is unknown.
    """
    if str(value).lower() not in names:
        listed = ", ".join(sorted(names))
        raise UserError(f"{path}: {key} is {value!r}, which is not supported; known are {listed}")
    return names[str(value).lower()]


def natural(value: Any, path: Path, key: str) -> int:
    """Return a count of a configuration; 0 if it is left out.

    Raises
    ------
    UserError
        If it is no count.
    """
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{path}: {key} is {value!r}; it must be a whole number above 0")
    return value
