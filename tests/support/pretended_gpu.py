"""Pretend that there is a GPU: networks compute on the CPU, and tensors remember on which device they would be.

Mixing tensors of two devices, or making an array of one on the GPU, fails as it does with a GPU.
"""

from contextlib import contextmanager

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map_only

GPU = torch.device("cuda:0")
MARK = "_pretended"
MOVES = {torch.Tensor.to, torch.Tensor.cuda, torch.Tensor.cpu}
READS = {torch.Tensor.numpy, torch.Tensor.__array__}
BETWEEN = {"copy_", "__set__"}  # that take tensors of two devices


def on_gpu(value):
    return isinstance(value, torch.Tensor) and getattr(value, MARK, False)


def marked(result, gpu):
    """The tensors of a result, on the GPU or not."""

    def mark(tensor):
        setattr(tensor, MARK, gpu)
        return tensor

    return tree_map_only(torch.Tensor, mark, result)


def is_device(value):
    return isinstance(value, torch.device) or (isinstance(value, str) and value[:4] in ("cpu", "cuda"))


def without_gpu(args, kwargs):
    """The arguments of a call with the CPU in place of its device, and that device, if it names one."""
    device = next((torch.device(one) for one in (kwargs.get("device"), *args) if is_device(one)), None)
    args = tuple("cpu" if is_device(one) else one for one in args)
    return args, kwargs | ({"device": "cpu"} if is_device(kwargs.get("device")) else {}), device


class Pretended(TorchFunctionMode):
    """Follows the devices of all tensors in this thread; `calls` counts the operations on the GPU."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function == torch.Tensor.device.__get__:
            return GPU if on_gpu(args[0]) else function(*args)
        if function == torch.Tensor.is_cuda.__get__:
            return on_gpu(args[0])
        if function in MOVES:
            return moved(function, args, kwargs)
        if function in READS and on_gpu(args[0]):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, torch.Tensor)]
        if len({on_gpu(one) for one in tensors if one.dim()}) > 1 and function.__name__ not in BETWEEN:
            raise RuntimeError(f"Expected all tensors to be on the same device: {function.__name__}")
        _, kwargs, device = without_gpu((), kwargs)
        gpu = device.type == "cuda" if device is not None else any(on_gpu(one) for one in tensors)
        self.calls += gpu
        result = function(*args, **kwargs)
        return marked(result, True) if gpu else result


def moved(function, args, kwargs):
    """The result of a conversion, on the device that it names."""
    tensor, rest = args[0], args[1:]
    if function is torch.Tensor.cpu:
        return marked(tensor.detach().clone(), False)
    rest, kwargs, device = without_gpu(rest, kwargs)
    of_tensor = next((on_gpu(one) for one in rest if isinstance(one, torch.Tensor)), on_gpu(tensor))
    gpu = device.type == "cuda" if device is not None else of_tensor
    result = function(tensor, *rest, **kwargs)
    return marked(result.clone() if result is tensor and gpu != on_gpu(tensor) else result, gpu)


def _module_to(module, *args, **kwargs):
    args, kwargs, device = without_gpu(args, kwargs)
    MODULE_TO(module, *args, **kwargs)
    if device is not None:
        marked([*module.parameters(), *module.buffers()], device.type == "cuda")
    return module


MODULE_TO = torch.nn.Module.to


@contextmanager
def pretended_gpu():
    """Yield the mode that follows the devices."""
    with pytest.MonkeyPatch.context() as patch, Pretended() as mode:
        patch.setattr(torch.nn.Module, "to", _module_to)
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "device_count", lambda: 1)
        patch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)  # other threads call it too
        yield mode
