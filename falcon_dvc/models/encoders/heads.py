"""Read a linear classifier of an encoder's features (a linear probe) from a file of its own, without running code."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from falcon_dvc.errors import UserError
from falcon_dvc.placeholders import existing, refuse_placeholders

OF_TORCH = (".pth", ".pt", ".tar", ".bin", ".ckpt")
EXPECTED = "a matrix weight (outputs x features) and a vector bias (outputs)"


def read_head(
    path: str | Path, features: int | None = None, classes: int | None = None, param: str = "encoders"
) -> tuple[Float32[np.ndarray, "outputs features"], Float32[np.ndarray, " outputs"]]:
    """Read weight and bias of a linear classifier.

    Parameters
    ----------
    path
        A file of safetensors, NumPy (``.npz``) or torch with one matrix and one vector, of any names (``fc.weight``).
    features : int, optional
        Number of features of the encoder, to check the matrix.
    classes : int, optional
        Number of class names, to check the outputs.
    param : str
        The name of the entry, for errors: ``encoders.NAME``.

    Raises
    ------
    UserError
        If the file cannot be read, holds other arrays or values that are not finite, or does not fit.
    """
    arrays = _arrays(existing(path, f"{param}.head"))
    weight, bias = _weight_and_bias(path, arrays)
    if weight.shape[0] != bias.size:
        fix = "transpose the weight" if weight.shape[1] == bias.size else "use files of one training"
        raise UserError(
            f"{path}: weight {_shape(weight)} and bias {_shape(bias)} do not fit, it needs {EXPECTED}; {fix}"
        )
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise UserError(f"{path}: holds values that are NaN or infinite; train the head again")
    if features is not None and weight.shape[1] != features:
        raise UserError(
            f"{path}: reads {weight.shape[1]} features, but {param} has {features}; set layer and pooling as in its "
            "training, or train it on the features.npy of this encoder"
        )
    if classes is not None and weight.shape[0] != classes:
        raise UserError(
            f"{path}: has {weight.shape[0]} outputs, but {param}.classes names {classes}; name each output, in order"
        )
    return weight, bias


def _weight_and_bias(path: str | Path, arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Find the only matrix and the only vector of a file, as float32."""
    matrices, vectors = ([name for name, array in arrays.items() if array.ndim == ndim] for ndim in (2, 1))
    if len(matrices) != 1 or len(vectors) != 1 or len(arrays) != 2:
        held = ", ".join(f"{name} {_shape(array)}" for name, array in sorted(arrays.items())[:4])
        more = ", ..." if len(arrays) > 4 else ""
        raise UserError(f"{path}: holds {len(arrays)} arrays ({held}{more}); save {EXPECTED} alone")
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu" or not array.size:
            raise UserError(
                f"{path}: {name} holds {array.size} numbers of type {array.dtype}; save {EXPECTED} as float32"
            )
    return arrays[matrices[0]].astype(np.float32), arrays[vectors[0]].astype(np.float32)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of a file by name."""
    from safetensors import SafetensorError

    refuse_placeholders([path])
    readers = {".safetensors": _of_safetensors, ".npz": _of_npz, **dict.fromkeys(OF_TORCH, _of_torch)}
    read = readers.get(path.suffix.lower())
    if read is None:
        raise UserError(
            f"{path}: a head is a .safetensors, .npz or torch file ({', '.join(OF_TORCH)}); save {EXPECTED} in one"
        )
    try:
        return read(path)
    except (
        OSError,
        SafetensorError,
        ValueError,
        TypeError,
        KeyError,
        EOFError,
        RuntimeError,
        zipfile.BadZipFile,
    ) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise UserError(f"{path}: not a readable file of arrays ({reason}); name a file with {EXPECTED}") from error


def _of_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(path)


def _of_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: np.asarray(archive[name]) for name in archive.files}  # other files of an archive are bytes


def _of_torch(path: Path) -> dict[str, np.ndarray]:
    """Read the only table with a matrix and a vector, wherever the file holds it, or else the first table."""
    from falcon_dvc.models.encoders.checkpoint_files import read_checkpoint
    from falcon_dvc.models.encoders.released_checkpoints import tables_of

    tables = tables_of(read_checkpoint(path))
    linear = [table for table in tables if sorted(tensor.ndim for tensor in table.values()) == [1, 2]]
    chosen = linear if len(linear) == 1 else tables[:1] or [{}]
    return {name: tensor.float().numpy() for name, tensor in chosen[0].items()}


def _shape(array: np.ndarray) -> str:
    return " x ".join(map(str, array.shape)) or "scalar"
