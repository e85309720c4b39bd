"""Make a network of the user ready to be read: a plain module in float32, and its size, channels, mean and deviation."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from falcon_dvc.errors import UserError, one_line

# Sizes that networks are often built for; tried if a network does not take the one that it is given.
SIZES = (224, 28, 32, 48, 64, 84, 96, 112, 128, 160, 192, 240, 256, 288, 299, 320, 336, 384, 448, 480, 512, 518)
DIMENSIONS = {nn.Conv1d: "sequences (Conv1d)", nn.Conv3d: "volumes or clips (Conv3d)"}


def plain(module: nn.Module) -> nn.Module:
    """Return the module inside ``DataParallel`` or ``torch.compile``."""
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return plain(module.module)
    compiled = getattr(module, "_orig_mod", None)
    return plain(compiled) if isinstance(compiled, nn.Module) else module


def in_float32(module: nn.Module, param: str) -> nn.Module:
    """Convert the weights of a network to float32, in which features are computed.

    Raises
    ------
    UserError
        If a tensor has no values, or values that are no finite numbers of float32, or if the layers cannot be read.
    """
    if isinstance(module, torch.jit.ScriptModule):
        raise UserError(f"{param}: layers of TorchScript cannot be read; return the Python module and load its weights")
    buffers = {name for name, _ in module.named_buffers()}
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        problem = _problem(tensor, name in buffers)
        if problem:
            raise UserError(f"{param}: the network's tensor '{name}' {problem}")
    return module.float()


def _problem(tensor: Tensor, is_buffer: bool) -> str:
    """Say why a tensor cannot be used in float32; "" if it can."""
    if is_lazy(tensor):
        return "has no shape yet; run the network on a picture in the factory"
    if tensor.is_meta:
        return "holds no values (device meta); load the weights in the factory"
    if not tensor.is_floating_point() or (is_buffer and tensor.dtype != torch.float64):
        return ""  # masks in buffers hold infinite values
    if not (is_buffer or tensor.isfinite().all()):
        return "holds NaN or infinite values; load or train the weights again"
    beyond = tensor.dtype == torch.float64 and bool((tensor.isfinite() & ~tensor.float().isfinite()).any())
    return "holds values beyond float32, in which features are computed; scale the weights down" if beyond else ""


def side(value: Any, param: str) -> int | None:
    """Return the side of a square input from a network's attribute ``size``: a number, or two equal ones.

    Raises
    ------
    UserError
        If it is anything else.
    """
    sides = set(value) if isinstance(value, tuple | list | torch.Size) else {value}
    number = sides.pop() if len(sides) == 1 else 0
    if number is None or (isinstance(number, int) and number > 0):
        return number
    raise UserError(f"{param}: the network's size is {value!r}; give one number of pixels (images become squares)")


def numbers(value: Any, key: str, param: str) -> tuple[float, ...] | None:
    """Return a network's attribute ``mean`` or ``std`` as one number, or one for each of three channels.

    Raises
    ------
    UserError
        If it is anything else.
    """
    if value is None:
        return None
    try:
        found = tuple(torch.as_tensor(value, dtype=torch.float64).flatten().tolist())
    except (TypeError, ValueError, RuntimeError):
        found = ()
    if len(found) not in (1, 3) or (key == "std" and min(found) <= 0):
        raise UserError(
            f"{param}: the network's {key} is {value!r}; give one number, or one for each of three channels"
        )
    return found


def takes_grey(module: nn.Module, size: int) -> bool:
    """Whether a network takes images of one channel, and none of three."""
    if getattr(_first_convolution(module), "in_channels", 3) != 1:
        return False
    return _takes(module, 1, size) and not _takes(module, 3, size)


def for_channels(values: tuple[float, ...], channels: int, key: str, param: str) -> tuple[float, ...]:
    """Return one number for each channel of the input.

    Raises
    ------
    UserError
        If a network of one channel has different numbers for three.
    """
    if channels == 1 and len(set(values)) > 1:
        raise UserError(f"{param}: the network takes grey images, but its {key} is {values}; give three equal numbers")
    return (values[0],) * channels if len(set(values)) == 1 else values


def _first_convolution(module: nn.Module) -> nn.Module | None:
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return next((child for child in module.modules() if isinstance(child, kinds)), None)


def _takes(module: nn.Module, channels: int, size: int) -> bool:
    device = next((tensor.device for tensor in module.parameters()), "cpu")
    training = module.training
    try:
        with torch.inference_mode():
            module.eval()(torch.zeros(1, channels, size, size, device=device))
    except Exception:  # the user's code can raise any exception
        return False
    finally:
        module.train(training)
    return True


def refusal(module: nn.Module, image: Tensor, error: Exception, param: str) -> UserError:
    """Explain that a network fails on an image: by its device, its channels, its size, or its code."""
    channels, size = image.shape[1], image.shape[-1]
    reason = one_line(error) or type(error).__name__
    if "CUDA" in reason or "NVIDIA" in reason or "same device" in reason:
        fix = "leave .cuda() and .to() out of its code; the param device says where it runs"
        return UserError(f"{param}: the network does not run on {image.device} ({reason}); {fix}")
    wanted = _wanted(module, channels, size)
    if wanted:
        fix = "wrap it in a module that takes (images, 3, size, size), and name that as factory"
        return UserError(f"{param}: the network takes {wanted}, not images of {channels} channels ({reason}); {fix}")
    other = next((other for other in SIZES if other != size and _takes(module, channels, other)), None)
    if other is None:
        fix = "correct its forward, which must take one batch of images"
        return UserError(f"{param}: the network fails on images {tuple(image.shape)} ({reason}); {fix}")
    return UserError(
        f"{param}: the network does not take images of {size} pixels, but of {other} ({reason}); set {param}.size to {other}"
    )


def _wanted(module: nn.Module, channels: int, size: int) -> str:
    """Name the input of a network by its first convolution, if it is not images of `channels` channels."""
    first = _first_convolution(module)
    dimensions = [words for kind, words in DIMENSIONS.items() if isinstance(first, kind)]
    if dimensions:
        return dimensions[0]
    entering = getattr(first, "in_channels", channels)
    return f"{entering} channels" if entering != channels and _takes(module, entering, size) else ""
