"""Train one encoder to be explained, supervised or by SimCLR, and measure it on held-out images."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from falcon_dvc.artifacts.formats import read_array, read_table, write_json
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.models.scenes.checkpoints import load_encoder_checkpoint, save_encoder
from falcon_dvc.models.scenes.small_resnet import SmallResNet
from falcon_dvc.synthetic.encoder_training import train_encoder
from falcon_dvc.synthetic.scenes.scenes import CLASSIFIED, VALUES, class_numbers
from falcon_dvc.synthetic.training import (
    attribute_correlations,
    ridge_classifier,
)

SCENES, TRAINING = Path("data/scenes"), Path("data/training")

CLEAR = 0.5  # smallest correlation with an attribute at which the truth of a feature is clear


def run(params: Any, name: str) -> StageSummary:
    """Train the encoder `name`, save it, and write its held-out accuracies.

    Parameters
    ----------
    params
        The params; the stage uses ``train[name]`` and ``render_scenes.shortcut``.
    name
        A key of ``params.train``.

    Raises
    ------
    UserError
        If the objective is unknown.
    """
    section = params.train[name]
    images, table = read_array(TRAINING / "encoders.npy"), read_table(TRAINING / "encoders.parquet")
    path = Path("models") / f"{name}.safetensors"
    save_encoder(path, train_encoder(section, images, table, name), {"name": name, "objective": section.objective})
    metrics = measure(load_encoder_checkpoint(path), images, table, params.render_scenes.shortcut)
    write_json(Path("reports/metrics") / f"train_{name}.json", metrics)
    return StageSummary(read={"images": len(table)}, wrote={f"model to {path}": 1})


def _features(model: SmallResNet, images: np.ndarray) -> np.ndarray:
    """Compute the features of stored images, float32 (images, features)."""
    with torch.no_grad():
        chunks = [
            model.activation_maps(images[start : start + 256]).mean(dim=(2, 3)) for start in range(0, len(images), 256)
        ]
    return torch.cat(chunks).numpy()


def measure(model: SmallResNet, images: np.ndarray, table: pd.DataFrame, shortcut: Any) -> dict[str, Any]:
    """Compute held-out accuracies, the effect of the shortcut, and the number of features with a clear truth.

    Parameters
    ----------
    model
        A trained encoder; without heads, its features are classified by a linear probe on the training images.
    images, table
        The training split.
    shortcut
        Names of the planted ``object``, ``background`` and ``lookalike``.
    """
    scenes = read_table(SCENES / "attributes.parquet")
    test = np.flatnonzero(scenes["split"] == "test")
    held_out, features = (
        scenes.iloc[test].reset_index(drop=True),
        _features(model, read_array(SCENES / "images.npy")[test]),
    )
    predicted = _by_heads(model, features) if len(model.heads) else _by_probe(features, _features(model, images), table)
    return {
        "accuracy": {kind: float((predicted[kind] == held_out[kind]).mean()) for kind in CLASSIFIED},
        "shortcut": _shortcut(predicted["object"], held_out, shortcut),
        "clear_features": clear_features(features, held_out),
    }


def _by_heads(model: SmallResNet, features: np.ndarray) -> dict[str, np.ndarray]:
    """Predict classes with the model's own heads."""
    with torch.no_grad():
        logits = model.logits(torch.from_numpy(features))
    return {kind: np.array(VALUES[kind])[scores.argmax(dim=1).numpy()] for kind, scores in logits.items()}


def _by_probe(features: np.ndarray, training_features: np.ndarray, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Predict classes with a linear probe in closed form."""
    probes = {
        kind: ridge_classifier(training_features, labels, len(VALUES[kind]))
        for kind, labels in class_numbers(table).items()
    }
    return {kind: np.array(VALUES[kind])[probe(features)] for kind, probe in probes.items()}


def _shortcut(predicted: np.ndarray, scenes: pd.DataFrame, shortcut: Any) -> dict[str, float]:
    """Compute the accuracy on the planted object on and off its background, and its confusions."""
    planted = (scenes["object"] == shortcut.object).to_numpy()
    there = (scenes["background"] == shortcut.background).to_numpy()
    lookalike = (scenes["object"] == shortcut.lookalike).to_numpy()
    return {
        "accuracy_on_background": _share(predicted[planted & there] == shortcut.object),
        "accuracy_elsewhere": _share(predicted[planted & ~there] == shortcut.object),
        "called_lookalike_elsewhere": _share(predicted[planted & ~there] == shortcut.lookalike),
        "lookalike_called_object_on_background": _share(predicted[lookalike & there] == shortcut.object),
    }


def _share(hits: np.ndarray) -> float:
    """Compute the mean of booleans; 0 if there are none, because metrics hold numbers only."""
    return float(hits.mean()) if len(hits) else 0.0


def clear_features(features: np.ndarray, scenes: pd.DataFrame) -> dict[str, int]:
    """Count the features whose best attribute correlates at least `CLEAR`, by the attribute's kind."""
    attributes = [(kind, value) for kind in CLASSIFIED for value in VALUES[kind]]
    indicators = np.stack([(scenes[kind] == value).to_numpy(np.float64) for kind, value in attributes], axis=1)
    correlations = attribute_correlations(features.astype(np.float64), indicators)
    best = correlations.argmax(axis=1)
    clear = correlations.max(axis=1) >= CLEAR
    kinds = np.array([kind for kind, _ in attributes])[best[clear]]
    return {kind: int((kinds == kind).sum()) for kind in CLASSIFIED} | {"all": int(clear.sum()), "features": len(best)}
