"""Where the models run."""


def best_device() -> str:
    """The first GPU if there is one, else the CPU; hide GPUs with ``CUDA_VISIBLE_DEVICES=`` to choose."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def all_devices() -> list[str]:
    """Every GPU that there is, else the CPU."""
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cpu"]
