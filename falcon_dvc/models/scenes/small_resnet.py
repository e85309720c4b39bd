"""The explained encoders of the synthetic data set: a small ResNet of basic blocks.

The structure is that of torchvision's ResNet: stem, max-pool, stages of `BasicBlock`, global average pool. For pictures
of 64x64 pixels the last activation map has 8x8 cells. Its spatial mean is the feature vector.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

MEAN, DEVIATION = 0.45, 0.25  # of pixel values in [0, 1]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut, as in He et al. 2016."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(
        self, maps: Float[Tensor, "batch inputs rows columns"]
    ) -> Float[Tensor, "batch outputs rows2 columns2"]:
        """Add the convolved maps to the projected ones."""
        inner = torch.relu(self.bn1(self.conv1(maps)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.downsample(maps))


class SmallResNet(nn.Module):
    """Stem of stride 4, then stages of one block each, all but the first of stride 2.

    Parameters
    ----------
    stem
        Channels of the 5x5 stem.
    widths
        Channels of the stages; the last is the number of features.
    heads
        Class names per attribute kind; a linear classifier on the features for each. May be empty.
    """

    def __init__(self, stem: int, widths: Sequence[int], heads: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "stem": stem,
            "widths": list(widths),
            "heads": {kind: list(values) for kind, values in heads.items()},
        }
        self.stem = nn.Sequential(
            nn.Conv2d(3, stem, 5, 2, 2, bias=False), nn.BatchNorm2d(stem), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        inputs = [stem, *widths[:-1]]
        strides = [1] + [2] * (len(widths) - 1)
        self.stages = nn.Sequential(*(BasicBlock(*shape) for shape in zip(inputs, widths, strides, strict=True)))
        self.heads = nn.ModuleDict({kind: nn.Linear(widths[-1], len(values)) for kind, values in heads.items()})

    @property
    def width(self) -> int:
        """Number of features."""
        return self.config["widths"][-1]

    def maps(self, images: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch features cells cells"]:
        """Last activation maps (after ReLU) of pictures with values in [0, 1]."""
        return self.stages(self.stem((images - MEAN) / DEVIATION))

    def forward(self, images: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch features"]:
        """Return the features of pictures with values in [0, 1]: the spatial mean of the last maps."""
        return self.maps(images).mean(dim=(2, 3))

    def logits(self, features: Float[Tensor, "batch features"]) -> dict[str, Float[Tensor, "batch classes"]]:
        """Return the outputs of every classification head."""
        return {kind: head(features) for kind, head in self.heads.items()}

    def activation_maps(
        self, batch: UInt8[np.ndarray | Tensor, "batch rows columns 3"]
    ) -> Float[Tensor, "batch features cells cells"]:
        """Return the last activation maps of uint8 pictures; their spatial mean is the feature vector."""
        return self.maps(unit_images(batch))


def unit_images(batch: UInt8[np.ndarray | Tensor, "batch rows columns 3"]) -> Float[Tensor, "batch 3 rows columns"]:
    """Convert uint8 pictures to a channels-last tensor with values in [0, 1]."""
    pixels = torch.from_numpy(np.array(batch)) if isinstance(batch, np.ndarray) else batch
    return pixels.permute(0, 3, 1, 2).to(torch.float32).div(255).contiguous(memory_format=torch.channels_last)
