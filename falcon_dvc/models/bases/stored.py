"""The file of a basis that a stage prepared: ``data/bases/NAME.safetensors``."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from falcon_dvc.artifacts.formats import MADE_AGAIN, write_bytes
from falcon_dvc.errors import UserError, one_line
from falcon_dvc.models.bases.basis import Basis


def save_basis(path: Path, basis: Basis) -> None:
    """Save a basis."""
    # One key: the order of several is not stable.
    metadata = {"basis": json.dumps(basis.settings, sort_keys=True)}
    # A clone, because two names may share one tensor.
    tensors = {name: tensor.float().contiguous().clone() for name, tensor in basis.tensors.items()}
    write_bytes(path, save(tensors, metadata))


def read_stored_basis(path: Path) -> Basis:
    """Read a basis that `save_basis` wrote.

    Raises
    ------
    UserError
        If the file is missing, damaged or holds no basis.
    """
    try:
        with safe_open(path, framework="pt") as file:
            settings = json.loads((file.metadata() or {})["basis"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
        return Basis(**tensors, **settings)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: holds no basis ({one_line(error)}); {MADE_AGAIN}") from error
