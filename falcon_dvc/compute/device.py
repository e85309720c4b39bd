"""Choose the device and the precision of networks."""

from contextlib import AbstractContextManager, nullcontext


def best_device() -> str:
    """Return "cuda" if there is a GPU, else "cpu". The environment variable ``CUDA_VISIBLE_DEVICES`` selects GPUs."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def all_devices() -> list[str]:
    """Return all GPUs ("cuda:0", ...), or the CPU if there is none."""
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cpu"]


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
