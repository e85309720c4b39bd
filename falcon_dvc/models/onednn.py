"""Evaluate layers by oneDNN, which torch brings, in fewer passes over memory or with instructions that torch itself does not use.

The operations are those that torch's own compiler chooses for the CPU. Where they do not apply, torch computes the layers as usual.
"""

from typing import Any

import torch
from torch import Tensor, nn

from falcon_dvc.processor import amd_with_avx512


def applies(input: Tensor) -> bool:
    """Whether oneDNN's operations compute what torch does: on the CPU, in single precision, without gradients."""
    others = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu")
    plain = input.device.type == "cpu" and input.dtype == torch.float32 and input.numel() > 0
    return plain and not others and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class Linear(nn.Linear):
    """A linear layer that oneDNN computes.

    torch multiplies matrices by MKL. It uses AVX-512 on processors of Intel only, so that oneDNN takes less than half of the time on
    others.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Compute the layer's output."""
        if not applies(input):
            return super().forward(input)
        return torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")


def by_onednn(network: nn.Module) -> None:
    """Let oneDNN compute the linear layers of a network where that is faster; layers of derived classes stay as they are."""
    if amd_with_avx512():
        for module in network.modules():
            if type(module) is nn.Linear:
                module.__class__ = Linear


class Convolution(nn.Module):
    """A convolution with bias, and ReLU6 after it, in one pass over memory.

    Parameters
    ----------
    layer : Conv2d
        The convolution; its weight may be larger than its ``kernel_size`` says.
    padding : (rows, columns)
        On both sides.
    relu6 : bool
        Whether ReLU6 follows.
    """

    def __init__(self, layer: Any, padding: tuple[int, int], relu6: bool) -> None:
        super().__init__()
        self.weight, self.bias, self.relu6 = layer.weight, layer.bias, relu6
        self.placed = padding, layer.stride, layer.dilation, layer.groups

    def forward(self, batch: Tensor) -> Tensor:
        """Compute the output after ReLU6."""
        if applies(batch):
            after = ("hardtanh", [0.0, 6.0]) if self.relu6 else ("none", [])
            return torch.ops.mkldnn._convolution_pointwise(batch, self.weight, self.bias, *self.placed, *after, "")
        padding, stride, dilation, groups = self.placed
        found = nn.functional.conv2d(batch, self.weight, self.bias, stride, padding, dilation, groups)
        return nn.functional.relu6(found) if self.relu6 else found
