"""The interface of image-text encoders."""

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
    """The interface of an image-text encoder: images and texts as unit vectors of one space.

    Attributes
    ----------
    dim : int
        Width of the joint space.
    fingerprint : str
        Kind, names and weights. Encoders with the same fingerprint return the same embeddings.
    preprocessing : str
        Description of the preprocessing of an image.
    """

    dim: int
    fingerprint: str
    preprocessing: str

    def embed_images(self, images: Sequence[Picture]) -> Float32[np.ndarray, "images dim"]:
        """Return unit rows, one for each image of any size."""
        ...

    def prepare(self, images: Sequence[Picture]) -> "torch.Tensor":
        """Make the network's input from one or more images, on the CPU; must be safe to call from several threads."""
        ...

    def embed_prepared(self, batch: "torch.Tensor") -> Float32[np.ndarray, "images dim"]:
        """Return the embeddings, as `embed_images`, of prepared images."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts dim"]:
        """Return unit rows, one for each text."""
        ...


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
