"""Read the classifier of an encoder, and the features that it classifies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from falcon_dvc import paths
from falcon_dvc.activations.stored import open_rows
from falcon_dvc.errors import UserError
from falcon_dvc.failures.probes import read_probe
from falcon_dvc.models.encoders.classifiers import LinearClassifier, linear_classifier

if TYPE_CHECKING:
    import numpy as np

    from falcon_dvc.params.schema import Params


def read_classifier(params: Params, name: str) -> LinearClassifier | None:
    """Read the linear probe of the encoder `name`, or its own classifier; None if it has neither.

    Raises
    ------
    UserError
        As `read_probe` and `linear_classifier`.
    """
    if name in params.fit_probe.encoders:
        return read_probe(paths.probe(name))
    return linear_classifier(params.encoders[name], f"encoders.{name}")


def read_features(name: str, images: int, width: int) -> np.ndarray:
    """Read the features of all images, for a classifier of `width` features.

    Raises
    ------
    UserError
        If there are other numbers of images or features.
    """
    path = paths.activations(name) / "features"
    features = open_rows(path)
    if features.shape != (images, width):
        raise UserError(
            f"{path}.npy: shape {features.shape} does not fit {images} images and a classifier of {width} features; "
            f"run `dvc repro -f extract_activations@{name}`"
        )
    return features.rows(slice(None))
