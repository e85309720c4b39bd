"""Read, draw or check the basis that an entry of ``encoders`` asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from falcon_dvc.errors import UserError
from falcon_dvc.models.bases.basis import Basis
from falcon_dvc.models.bases.directions import random_directions, read_directions
from falcon_dvc.models.bases.released import basis_of
from falcon_dvc.models.bases.sae_files import read_sae
from falcon_dvc.placeholders import existing


def basis_without_fit(spec: Any, channels: int, param: str) -> Basis:
    """Return a basis that needs no images.

    Parameters
    ----------
    spec
        The params: `directions`, `sae` or `random`, and their options.
    channels : int
        Of the layer.
    param : str
        Name of the params, for errors: ``encoders.NAME.basis``.

    Raises
    ------
    UserError
        If a file is missing, damaged or of an unknown format, or does not fit the layer.
    """
    if spec.random is not None:
        return signed(random_directions(spec.random, channels, spec.seed), spec, param)
    path = existing(spec.file, f"{param}.{spec.source}")
    scale = spec.scale or 1.0
    basis = read_directions(path, spec.relu) if spec.directions else basis_of(read_sae(path, spec), scale)
    check_width(basis, channels, path, param)
    return signed(basis, spec, param)


def signed(basis: Basis, spec: Any, param: str) -> Basis:
    """Divide each feature into its positive and its negative part, if the params ask for it.

    Raises
    ------
    UserError
        If no feature is ever negative.
    """
    if not spec.both_signs:
        return basis
    if basis.activation not in ("none", "topk_signed"):
        raise UserError(f"{param}.both_signs: the features of this basis are never negative; leave it out")
    return replace(basis, both_signs=True)


def check_width(basis: Basis, channels: int, path: Path, param: str) -> None:
    """Refuse a basis of another number of channels than the layer has.

    Raises
    ------
    UserError
        If it does not fit.
    """
    if basis.channels == channels:
        return
    if len(basis.decoder) == channels:
        raise UserError(
            f"{path}: has {len(basis.decoder)} features of {basis.channels} channels, and the layer of {param} has {channels} "
            "channels: the matrix is transposed; save it as features x channels"
        )
    raise UserError(
        f"{path}: reads {basis.channels} channels, but the layer of {param} has {channels}; name the layer that it was trained "
        "on (`falcon layers` lists them)"
    )
