"""Pictures, texts and specs of image-text encoders."""

from functools import partial
from types import SimpleNamespace

import numpy as np
from pydantic import TypeAdapter

from falcon_dvc.models.image_text.load import load_image_text
from falcon_dvc.params.schema import ClassifierSpec

TEXTS = ["a cat", "", "a dog " * 200, "كلب أسود", "👩‍👩‍👧", "<b>=1+1</b>", "a cat"]


spec_of = partial(SimpleNamespace, precision="float32")


def noise(height: int, width: int, seed: int) -> np.ndarray:
    """Draw an image of random blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return blocks[np.arange(height) * 8 // height][:, np.arange(width) * 8 // width]


IMAGES = [noise(80, 120, 0), noise(64, 64, 1), noise(1, 1, 2), noise(30, 300, 3)]


def network(**changes):
    """A tiny classifier of torchvision with random weights."""
    told = {"kind": "torchvision", "name": "squeezenet1_1", "weights": "random", "size": 32}
    return TypeAdapter(ClassifierSpec).validate_python(
        told | {"classes": [f"thing {i}" for i in range(1000)]} | changes
    )


def any_conse(precision="float32", **classifier):
    spec = {"kind": "conse", "top": 2, "classifier": network(**classifier), "sentences": "folder"}
    return load_image_text(spec_of(**spec, precision=precision))
