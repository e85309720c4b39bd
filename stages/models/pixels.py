"""Stored pictures as tensors."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def unit_images(batch: UInt8[np.ndarray | Tensor, "batch rows columns 3"]) -> Float[Tensor, "batch 3 rows columns"]:
    """Turn pictures as stored into a channels-last tensor with values in [0, 1]."""
    pixels = torch.from_numpy(np.array(batch)) if isinstance(batch, np.ndarray) else batch
    return pixels.permute(0, 3, 1, 2).to(torch.float32).div(255).contiguous(memory_format=torch.channels_last)
