"""The encoders to explain: each turns images of any size into activation maps, in its own preprocessing."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32, UInt8

from stages.common.errors import UserError
from stages.sources.images import Box, resized

Picture = UInt8[np.ndarray, "height width 3"]


class Encoder(Protocol):
    """What the pipeline asks of an encoder.

    Attributes
    ----------
    width : int
        How many features it has.
    """

    width: int

    def activation_maps(self, images: Sequence[Picture]) -> Float32[np.ndarray, "images features rows columns"]:
        """Give the last activation maps of one or more images; their mean over positions is the feature vector."""
        ...

    def field(self, width: int, height: int) -> Box:
        """Give the box of an image of this size that the maps cover, in its pixels: (left, top, right, bottom)."""
        ...


class ScenesEncoder:
    """An encoder that this project trained on the rendered world; it sees the whole image, squashed to its input size.

    Parameters
    ----------
    checkpoint : path
        A file that the stage train_encoder wrote.
    device : str
        Where it runs, for instance "cpu" or "cuda".

    Raises
    ------
    UserError
        If the checkpoint is missing or does not fit.
    """

    size = 64

    def __init__(self, checkpoint: str, device: str = "cpu") -> None:
        from stages.models.checkpoints import load_encoder_checkpoint

        self._network = load_encoder_checkpoint(checkpoint).to(device)
        self._device = device
        self.width = self._network.width

    def activation_maps(self, images: Sequence[Picture]) -> Float32[np.ndarray, "images features rows columns"]:
        """Give the last activation maps; their mean over positions is the feature vector."""
        import torch

        pixels = torch.from_numpy(np.stack([resized(image, self.size) for image in images]))
        with torch.inference_mode():
            return self._network.activation_maps(pixels.to(self._device)).float().cpu().numpy()

    def field(self, width: int, height: int) -> Box:
        """Give the whole image."""
        return 0, 0, width, height


def load_encoder(spec: Any, device: str = "cpu", param: str = "encoders") -> Encoder:
    """Load an encoder to explain.

    Parameters
    ----------
    spec
        Its entry in the param ``encoders``: kind; with scenes, checkpoint; with efficientnet_lite, variant.
    device : str
        Where it runs, for instance "cpu" or "cuda".
    param : str
        The name of the entry, for errors: ``encoders.NAME``.

    Raises
    ------
    UserError
        If the kind is unknown, the checkpoint is missing or does not fit, or packages are missing.
    """
    if spec.kind == "scenes":
        return ScenesEncoder(spec.checkpoint, device)
    if spec.kind == "efficientnet_lite":
        from stages.models.efficientnet_lite import EfficientNetLite

        return EfficientNetLite(spec.variant, device, param)
    raise UserError(f"{param}: kind {spec.kind!r} is unknown; use scenes or efficientnet_lite")
