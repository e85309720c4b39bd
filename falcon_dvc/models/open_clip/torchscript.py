"""Read the tensors of a TorchScript archive, in which OpenAI published its CLIPs, without running the archive's code."""

import io
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.jit import _pickle

CODE = "constants.pkl"  # only archives of TorchScript hold it; torch.load refuses such an archive
KEPT = ("data.pkl", "version", "byteorder")  # of the archive's entries, beside those of the tensors
CLASSES = "__torch__"  # package of the classes whose code the archive holds
# Functions that mark the type of a list or a dictionary, and return it as it is.
MARKS = (
    "build_intlist",
    "build_tensorlist",
    "build_doublelist",
    "build_boollist",
    "build_tensor_from_id",
    "restore_type_tag",
)


def is_torchscript(path: str | Path) -> bool:
    """Return whether a file is a TorchScript archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith(f"/{CODE}") for name in archive.namelist())


def read_torchscript(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a TorchScript archive by their names in ``state_dict``. Its code is neither run nor compiled.

    The values of the archive are read by torch's reader for tensors only. Each class of the archive is replaced by an empty
    one.

    Parameters
    ----------
    path : path
        A file for which `is_torchscript` holds.

    Raises
    ------
    pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError
        If the archive is damaged, or holds other objects.
    """
    values, classes = _without_code(path)
    marks = [getattr(_pickle, name) for name in MARKS if hasattr(_pickle, name)]
    with torch.serialization.safe_globals([*classes, *marks]):
        module = torch.load(values, map_location="cpu", weights_only=True)
    return dict(_tensors(module))


def _without_code(path: str | Path) -> tuple[io.BytesIO, list[type]]:
    """Copy an archive without its code; return the copy and an empty class for each of the archive's classes."""
    copy, values = io.BytesIO(), b""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
        for name in source.namelist():
            inside = name.partition("/")[2]
            if inside in KEPT or inside.startswith(("data/", ".data/")):
                target.writestr(name, source.read(name))
            if inside == "data.pkl":
                values = source.read(name)
    copy.seek(0)
    return copy, _empty_classes(values)


def _empty_classes(values: bytes) -> list[type]:
    """Return a class without methods for each class of the archive that its values name."""
    named = {str(argument) for step, argument, _ in pickletools.genops(values) if step.name == "GLOBAL"}
    places = (name.split(" ", 1) for name in sorted(named) if name.startswith(CLASSES))
    return [type(name, (), {"__module__": module, "__qualname__": name}) for module, name in places]


def _tensors(module: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a module and of the modules inside it."""
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value.detach()
        elif type(value).__module__.startswith(CLASSES):
            yield from _tensors(value, f"{prefix}{name}.")
