"""Make the input batch of a network from images of any size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image

from falcon_dvc.errors import UserError, one_line
from falcon_dvc.images.decode import Box

Picture = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class Preparation:
    """Preprocessing of an image: crop, scale, standardise.

    Attributes
    ----------
    size : int
        Side of the square input, in pixels.
    mean, std : three numbers
        Mean and standard deviation of the channels, for values in [0, 1].
    share : float
        Side of the central square as a share of the image's short side. With `squash`, share of both sides.
    squash : bool
        Crop with the aspect ratio of the image, and scale that to a square, instead of cropping a square.
    resample : PIL.Image.Resampling
        Filter for scaling.
    transform : callable, optional
        From a PIL image to a tensor (3, size, size). It replaces all of the above, but not `field`.
    channels : int
        3, or 1 for a network of grey images. Images become grey as Pillow makes them (ITU-R 601-2).
    """

    size: int = 224
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    share: float = 1.0
    squash: bool = False
    resample: Image.Resampling = Image.Resampling.BICUBIC
    transform: Callable[[Image.Image], Any] | None = None
    channels: int = 3

    def field(self, width: int, height: int) -> Box:
        """Return the box of an image of this size that the network sees, in pixels: (left, top, right, bottom)."""
        short = min(width, height)
        across, down = (max(1, int(self.share * (side if self.squash else short))) for side in (width, height))
        left, top = (width - across) // 2, (height - down) // 2
        return left, top, left + across, top + down

    def batch(self, images: Sequence[Picture]) -> Float[torch.Tensor, "images channels size size"]:
        """Return the network's input for one or more images.

        Raises
        ------
        UserError
            If `transform` fails, or does not give tensors of one size.
        """
        if self.transform is not None:
            return _stacked([_transformed(self.transform, Image.fromarray(image)) for image in images])
        pixels = np.stack([self._scaled(image) for image in images]).astype(np.float32) / 255
        standard = (pixels - np.array(self.mean, dtype=np.float32)) / np.array(self.std, dtype=np.float32)
        return torch.from_numpy(standard).permute(0, 3, 1, 2)

    def _scaled(self, image: Picture) -> np.ndarray:
        box = self.field(image.shape[1], image.shape[0])
        scaled = Image.fromarray(image).resize((self.size, self.size), self.resample, box=box)
        return np.array(scaled if self.channels == 3 else scaled.convert("L")).reshape(
            self.size, self.size, self.channels
        )


def _transformed(transform: Callable[[Image.Image], Any], image: Image.Image) -> torch.Tensor:
    """Call the preprocessing of the user."""
    expected = "it must give a tensor (3, size, size) of floating-point numbers"
    try:
        result = transform(image)
    except Exception as error:  # the user's code can raise any exception
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise UserError(
            f"the network's preprocess failed on an image of {image.width} x {image.height} ({reason}); {expected}"
        ) from error
    if not isinstance(result, torch.Tensor | np.ndarray):
        raise UserError(f"the network's preprocess gives a {type(result).__name__}; {expected}")
    tensor = torch.as_tensor(result)
    if tensor.ndim != 3 or not tensor.is_floating_point():
        raise UserError(f"the network's preprocess gives {tuple(tensor.shape)} of {tensor.dtype}; {expected}")
    return tensor.float()


def _stacked(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) > 1:
        raise UserError(f"the network's preprocess gives different sizes ({sorted(shapes)[:2]}); it must give one size")
    return torch.stack(list(tensors))
