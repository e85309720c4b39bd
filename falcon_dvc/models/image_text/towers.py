"""Networks side by side, whose features are one vector for each image."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from falcon_dvc.errors import UserError
from falcon_dvc.models.encoders.classifiers import LinearClassifier, linear_classifier
from falcon_dvc.models.encoders.load import Encoder, load_encoder
from falcon_dvc.models.image_text.base import sha256
from falcon_dvc.models.pooled_boxes import box_weights, pooled

if TYPE_CHECKING:
    from torch import Tensor

Picture = UInt8[np.ndarray, "height width 3"]
BLANK = np.zeros((8, 8, 3), dtype=np.uint8)


class Towers:
    """Networks that see the same images, each with its own preprocessing.

    Parameters
    ----------
    specs
        Entries as in the param ``encoders``.
    device : str
        Where they run.
    param : str
        Name of the param that lists them, for errors.
    """

    def __init__(self, specs: Sequence[Any], device: str, param: str) -> None:
        names = [f"{param}.{number}" for number in range(len(specs))]
        self._specs, self._names = specs, names
        self._encoders: list[Encoder] = [
            load_encoder(spec, device, name) for spec, name in zip(specs, names, strict=True)
        ]
        self._inputs = [encoder.prepare([BLANK]) for encoder in self._encoders]
        self.widths = [encoder.width for encoder in self._encoders]
        self.width = sum(self.widths)

    def prepare(self, images: Sequence[Picture]) -> Tensor:
        """Make one row for each image: the inputs of all networks, one after the other."""
        import torch

        inputs = [encoder.prepare(images) for encoder in self._encoders]
        return torch.cat([own.reshape(len(own), -1).float() for own in inputs], dim=1)

    def features(self, batch: Tensor) -> Float32[np.ndarray, "images width"]:
        """Return the features of prepared images, those of the first network first."""
        inputs = zip(self._encoders, self._divided(batch), strict=True)
        return np.concatenate([encoder.forward(own)[0] for encoder, own in inputs], axis=1)

    def features_and_maps(
        self, batch: Tensor
    ) -> tuple[Float32[np.ndarray, "images width"], list[Float32[np.ndarray, "images channels rows columns"]]]:
        """Return the features of prepared images, and the maps of each network.

        Raises
        ------
        UserError
            If a network has no maps.
        """
        found = [encoder.forward(own) for encoder, own in zip(self._encoders, self._divided(batch), strict=True)]
        for name, (_, maps) in zip(self._names, found, strict=True):
            if maps is None:
                raise UserError(f"{name}: has no maps to pool over boxes; set mine_crops.embed to crops")
        return np.concatenate([features for features, _ in found], axis=1), [np.asarray(maps) for _, maps in found]

    def features_of_boxes(
        self,
        maps: Sequence[Float[np.ndarray, "images channels rows columns"]],
        shapes: Int[np.ndarray, "images 2"],
        boxes: Sequence[Int[np.ndarray, "boxes 4"]],
    ) -> Float32[np.ndarray, "all_boxes width"]:
        """Return the features of boxes, pooled from the maps of each network, image by image.

        Parameters
        ----------
        maps
            Of each network, as `features_and_maps` returns them.
        shapes
            Height and width of each image in pixels.
        boxes
            Of each image: left, top, right, bottom in its pixels.
        """
        parts = [self._pooled(encoder, own, shapes, boxes) for encoder, own in zip(self._encoders, maps, strict=True)]
        return np.concatenate(parts, axis=1).astype(np.float32)

    @staticmethod
    def _pooled(encoder: Any, maps: np.ndarray, shapes: np.ndarray, boxes: Any) -> np.ndarray:
        rows, columns = maps.shape[2:]
        return np.concatenate(
            [
                pooled(one, box_weights(of_image, encoder.field(width, height), rows, columns))
                for one, (height, width), of_image in zip(maps, shapes.tolist(), boxes, strict=True)
            ]
        )

    def _divided(self, batch: Tensor) -> Iterator[Tensor]:
        """Yield the input of each network."""
        sizes = [one.numel() for one in self._inputs]
        for own, one in zip(batch.split(sizes, dim=1), self._inputs, strict=True):
            yield own.reshape(-1, *one.shape[1:]).to(one.dtype)

    def classifier(self) -> tuple[slice, LinearClassifier] | None:
        """Return the first classifier of a network, and the place of the features that it reads; None if there is none."""
        first = 0
        for spec, name, width in zip(self._specs, self._names, self.widths, strict=True):
            found = linear_classifier(spec, name)
            if found is not None:
                return slice(first, first + width), found
            first += width
        return None

    def digest(self) -> str:
        """Return the SHA-256 of all weights and of the preprocessing."""
        parts = [f"{_weights(spec, encoder, name)}" for spec, encoder, name in self._each()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def preprocessing(self) -> str:
        """Describe how each network sees an image."""
        return "; ".join(_seen(spec, encoder) for spec, encoder, _ in self._each())

    def _each(self) -> zip[tuple[Any, Any, str]]:
        return zip(self._specs, self._encoders, self._names, strict=True)


def _weights(spec: Any, encoder: Any, name: str) -> str:
    """Describe the weights of a network and its input."""
    if spec.kind == "efficientnet_lite":
        from falcon_dvc.models.encoders.efficientnet_lite import weights_path

        return f"{spec.weights} {spec.seed} {sha256(weights_path(spec.variant, name))}"
    if spec.kind == "scenes":
        return f"{spec.weights} {spec.seed} {sha256(spec.checkpoint)}"
    return f"{encoder.weights_digest()} {encoder.described_preparation()}"


def _seen(spec: Any, encoder: Any) -> str:
    if spec.kind == "efficientnet_lite":
        return f"as EfficientNet-Lite{spec.variant}"
    return "the whole image" if spec.kind == "scenes" else encoder.described_preparation()


def spread_evenly(features: Float[np.ndarray, "images width"]) -> Float[np.ndarray, "images width"]:
    """Return the square root of the size of each feature, with its sign: a few large values then do not decide a map."""
    return np.sign(features) * np.sqrt(np.abs(features))
