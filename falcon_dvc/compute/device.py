"""Choose the device and the precision of networks."""

import sys
from contextlib import AbstractContextManager, nullcontext
from functools import cache

from falcon_dvc.allocator import keep_freed_memory
from falcon_dvc.errors import UserError


def best_device(asked: str = "auto") -> str:
    """Return the device on which networks run.

    Parameters
    ----------
    asked : {"auto", "cpu", "cuda", "mps"}
        The param ``device``. With auto it is "cuda" if there is a GPU, else "cpu", and a line on stderr says which.
        The environment variable ``CUDA_VISIBLE_DEVICES`` selects GPUs.

    Raises
    ------
    UserError
        If cuda or mps is asked for, but torch finds no such device.
    """
    keep_freed_memory()
    if asked == "cpu":
        return asked
    cuda, mps = _available()
    if asked == "auto":
        _say(_described(cuda, mps))
        return "cuda" if cuda else "cpu"
    if not (cuda if asked == "cuda" else mps):
        what = "GPU of NVIDIA or AMD" if asked == "cuda" else "GPU of Apple"
        raise UserError(f"params.yaml: device: torch finds no {what} for {asked}; set device to auto or cpu")
    return asked


def all_devices(asked: str = "auto") -> list[str]:
    """Return all devices on which replicas of a network run: every GPU ("cuda:0", ...), or the only device.

    Parameters
    ----------
    asked
        See `best_device`.

    Raises
    ------
    UserError
        See `best_device`.
    """
    device = best_device(asked)
    return [f"cuda:{number}" for number in range(_available()[0])] if device == "cuda" else [device]


def _available() -> tuple[int, bool]:
    """Return the number of CUDA GPUs, and whether there is a GPU of Apple."""
    import torch

    return (torch.cuda.device_count() if torch.cuda.is_available() else 0), torch.backends.mps.is_available()


def _described(cuda: int, mps: bool) -> str:
    """Describe the choice of auto."""
    if cuda:
        return f"device: cuda (auto; {cuda} GPU{'s' * (cuda > 1)})"
    return "device: cpu (auto; `device: mps` uses the GPU of Apple)" if mps else "device: cpu (auto; no GPU found)"


@cache
def _say(line: str) -> None:
    """Print a line on stderr, once in a process."""
    print(line, file=sys.stderr)


def computing_in(precision: str, device: str) -> AbstractContextManager:
    """Return a context in which networks compute in `precision`.

    Parameters
    ----------
    precision : {"float32", "bfloat16", "float16"}
        Half precision is used by the operations that torch's autocast considers safe.
    device : str
        Device of the network, for instance "cpu".
    """
    import torch

    if precision == "float32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, getattr(torch, precision))
