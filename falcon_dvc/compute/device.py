"""Where networks compute, and how precisely."""

from contextlib import AbstractContextManager, nullcontext


def best_device() -> str:
    """Return the first GPU if there is one, else the CPU; hide GPUs with ``CUDA_VISIBLE_DEVICES=`` to choose."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def all_devices() -> list[str]:
    """Return every GPU that there is, else the CPU."""
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cpu"]


def computing_in(precision: str, device: str) -> AbstractContextManager:
    """Return a context in which a network computes in half precision where that is safe, unless it is float32."""
    import torch

    if precision == "float32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, getattr(torch, precision))
