"""Fit a linear probe: a classifier of an encoder's features, where the encoder has none (claim C4 on the user's own task)."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from falcon_dvc.artifacts.formats import MADE_AGAIN, write_bytes
from falcon_dvc.errors import UserError, one_line
from falcon_dvc.models.encoders.classifiers import LinearClassifier
from falcon_dvc.progress import track

Features = Float[np.ndarray, "images features"]
Classes = Int[np.ndarray, " images"]


def fit_probe(
    features: Features,
    classes: Classes,
    validation: Int[np.ndarray, " validation"],
    strengths: Sequence[float],
    most: int,
) -> tuple[Float[np.ndarray, "classes features"], Float[np.ndarray, " classes"], float]:
    """Fit logistic regressions on the images that do not validate; return the one that is right on most images that do.

    Parameters
    ----------
    features, classes : of all images; every class occurs among those that do not validate.
    validation : rows that choose the strength; equal accuracies go to the stronger penalty.
    strengths : inverse penalties, C of scikit-learn, for standardised features.
    most : iterations of the optimiser.

    Returns
    -------
    weights, bias, strength
        Of the features as they are, not standardised.
    """
    rows = np.setdiff1d(np.arange(len(features)), validation)
    level, spread = features[rows].mean(axis=0), features[rows].std(axis=0)
    spread = np.where(spread > 0, spread, 1)
    scaled = ((features - level) / spread).astype(np.float32)  # in which an iteration takes half the time
    strengths = sorted(strengths)
    fitted = list(_regressions(scaled[rows], classes[rows], strengths, most))
    judged = [_accuracy(weights, bias, scaled[validation], classes[validation]) for weights, bias in fitted]
    best = int(np.argmax(judged))
    weights, bias = (array.astype(np.float64) for array in fitted[best])
    weights = weights / spread
    return weights, bias - weights @ level, strengths[best]


def _regressions(
    features: Features, classes: Classes, strengths: Sequence[float], most: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Fit a multinomial logistic regression of each strength, from the one before; yield weights and bias, a row a class."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=most, warm_start=True)
    for strength in track(strengths, "fitting probes"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the validation images judge every fit
            model.set_params(C=strength).fit(features, classes)
        weights, bias = model.coef_.copy(), model.intercept_.copy()
        if len(model.classes_) == 2:  # they have one row: the logit of the second
            weights, bias = np.vstack([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
        yield weights, bias


def _accuracy(weights: np.ndarray, bias: np.ndarray, features: Features, classes: Classes) -> float:
    return float(((features @ weights.T + bias).argmax(axis=1) == classes).mean())


def save_probe(path: Path, weights: np.ndarray, bias: np.ndarray, names: Sequence[str]) -> None:
    """Save a probe with the names of its classes."""
    tensors = {"weight": np.ascontiguousarray(weights, np.float32), "bias": np.ascontiguousarray(bias, np.float32)}
    write_bytes(path, save(tensors, {"classes": json.dumps(list(names))}))


def read_probe(path: Path) -> LinearClassifier:
    """Read a probe.

    Raises
    ------
    UserError
        If the file is missing or is no probe.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            names = tuple(json.loads((file.metadata() or {})["classes"]))
            weights, bias = (file.get_tensor(name).astype(np.float32) for name in ("weight", "bias"))
        if weights.shape[:1] != bias.shape or len(names) != len(bias):
            raise ValueError("its arrays do not fit each other")
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is no linear probe ({one_line(error)}); {MADE_AGAIN}") from error
    return LinearClassifier(weights, bias, names, names)
