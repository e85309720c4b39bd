"""What the pipeline asks of an image-text encoder."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Float32, UInt8

if TYPE_CHECKING:
    import torch

PARAM = "image_text"


Picture = UInt8[np.ndarray, "height width 3"]


class ImageTextEncoder(Protocol):
    """What the pipeline asks of an image-text encoder.

    Attributes
    ----------
    dim : int
        Width of the joint space.
    fingerprint : str
        Kind, names and weights: two encoders with the same give the same embeddings.
    preprocessing : str
        What is done to an image before the network sees it, in words.
    """

    dim: int
    fingerprint: str
    preprocessing: str

    def embed_images(self, images: Sequence[Picture]) -> Float32[np.ndarray, "images dim"]:
        """Return unit rows, one for each image of any size."""
        ...

    def prepare(self, images: Sequence[Picture]) -> "torch.Tensor":
        """Make the input of the network of one or more images, on the CPU; called from several threads."""
        ...

    def embed_prepared(self, batch: "torch.Tensor") -> Float32[np.ndarray, "images dim"]:
        """Return what `embed_images` gives, for images that are prepared."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts dim"]:
        """Return unit rows, one for each text."""
        ...


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
