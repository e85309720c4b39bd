"""A matrix of directions in a file of one's own, and random directions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from falcon_dvc.errors import UserError, one_line
from falcon_dvc.models.bases.basis import Basis
from falcon_dvc.models.bases.released import check_tensor, shown
from falcon_dvc.models.encoders.checkpoint_files import read_checkpoint
from falcon_dvc.placeholders import refuse_placeholders

EXPECTED = "a matrix (features, channels) and, if needed, a vector with a bias for each feature"
FORMATS = "use .npy or .safetensors"


def read_directions(path: Path, relu: bool = False) -> Basis:
    """Read directions: ``x W^T + b``, of a ``.npy`` file with W or a ``.safetensors`` file with W and perhaps b.

    The reconstruction is that by the pseudo-inverse: the projection onto the span of the directions.

    Parameters
    ----------
    relu : bool
        Set negative values to 0.

    Raises
    ------
    UserError
        If the file cannot be read, or holds other arrays.
    """
    matrix, bias = _matrix_and_bias(path)
    for name, tensor in {"the matrix of directions": matrix, "the bias": bias}.items():
        check_tensor(path, name, tensor, tuple(tensor.shape))
    empty = torch.nonzero(matrix.norm(dim=1) == 0)
    if len(empty):
        raise UserError(f"{path}: direction {int(empty[0])} is 0 everywhere; leave it out")
    return linear_basis(matrix, bias, relu, {"format": "directions", "file": str(path)})


def random_directions(count: int, channels: int, seed: int) -> Basis:
    """Draw unit vectors of uniform direction: a control of any basis with as many features."""
    drawn = np.random.default_rng(seed).normal(size=(count, channels)).astype(np.float32)
    rows = torch.from_numpy(drawn)
    unit = rows / rows.norm(dim=1, keepdim=True)
    return linear_basis(unit, torch.zeros(count), description={"format": "random directions", "seed": seed})


def linear_basis(matrix: Tensor, bias: Tensor, relu: bool = False, description: dict[str, Any] | None = None) -> Basis:
    """Return the basis of directions (features, channels) with a bias."""
    inverse = torch.linalg.pinv(matrix.double().T).float()
    return Basis(
        weight=matrix.T.contiguous(),
        bias=bias,
        decoder=inverse,
        offset=-(bias @ inverse),
        activation="relu" if relu else "none",
        centred=True,
        description=description or {},
    )


def _matrix_and_bias(path: Path) -> tuple[Tensor, Tensor]:
    arrays = _arrays(path)
    matrices, vectors = ([one for one in arrays.values() if one.ndim == ndim] for ndim in (2, 1))
    if len(matrices) != 1 or len(vectors) > 1 or len(arrays) != len(matrices) + len(vectors) or not matrices[0].numel():
        held = ", ".join(f"{name} {shown(tensor)}" for name, tensor in sorted(arrays.items())[:4]) or "nothing"
        raise UserError(f"{path}: holds {held}; save {EXPECTED} alone")
    matrix = matrices[0].float()
    bias = vectors[0].float() if vectors else torch.zeros(len(matrix))
    if len(bias) != len(matrix):
        fix = "transpose the matrix" if len(bias) == matrix.shape[1] else "give one number for each direction"
        raise UserError(f"{path}: the matrix is {shown(matrix)} and the bias {shown(bias)}; {fix}")
    return matrix, bias


def _arrays(path: Path) -> dict[str, Tensor]:
    refuse_placeholders([path])
    if path.suffix == ".safetensors":
        return dict(read_checkpoint(path))
    if path.suffix != ".npy":
        raise UserError(f"{path}: is no file of directions; {FORMATS}, with {EXPECTED}")
    try:
        array = np.load(path, allow_pickle=False)
        if array.dtype.kind not in "fiu":
            raise ValueError(f"holds {array.dtype}")
    except Exception as error:  # numpy raises anything on a damaged header: ValueError, EOFError, TypeError, ...
        raise UserError(f"{path}: not a readable array of numbers ({one_line(error)}); save {EXPECTED}") from error
    return {"array": torch.from_numpy(np.array(array, dtype=np.float32))}
