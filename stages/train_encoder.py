"""Stage: train one explained encoder of the rendered world, supervised or by SimCLR, and measure it on held-out images."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from falcon_dvc.artifacts.formats import read_array, read_table, write_json
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.errors import UserError
from falcon_dvc.models.scenes.checkpoints import load_encoder_checkpoint, save_encoder
from falcon_dvc.models.scenes.small_resnet import SmallResNet, unit_images
from falcon_dvc.synthetic.scenes.scenes import CLASSIFIED, VALUES, class_numbers
from falcon_dvc.synthetic.training import (
    attribute_correlations,
    batches,
    blur_some,
    classification_loss,
    fit,
    grey_some,
    jitter_colour,
    make_deterministic,
    nt_xent,
    projection_head,
    random_windows,
    ridge_classifier,
)

SCENES, TRAINING = Path("data/scenes"), Path("data/training")
BLURRED = 0.3  # share of the views that are blurred a little
CLEAR = 0.5  # a feature has a clear truth if it correlates at least so much with one attribute


def run(params: Any, name: str) -> StageSummary:
    """Train the encoder `name`, save it, and write its held-out accuracies.

    Parameters
    ----------
    params
        Mirrors params.yaml; the sections ``train[name]`` and ``render_scenes.shortcut`` are used.
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
    save_encoder(path, train(section, images, table, name), {"name": name, "objective": section.objective})
    metrics = measure(load_encoder_checkpoint(path), images, table, params.render_scenes.shortcut)
    write_json(Path("reports/metrics") / f"train_{name}.json", metrics)
    return StageSummary(read={"images": len(table)}, wrote={f"model to {path}": 1})


def train(section: Any, images: np.ndarray, table: pd.DataFrame, name: str) -> SmallResNet:
    """Train an encoder by the objective of its section of params.yaml; returns it in evaluation mode."""
    if section.objective not in OBJECTIVES:
        raise UserError(
            f"params.yaml: train.{name}.objective is {section.objective!r}, must be one of {', '.join(OBJECTIVES)}"
        )
    generator = make_deterministic(section.seed)
    heads = {kind: VALUES[kind] for kind in CLASSIFIED} if section.objective == "supervised" else {}
    model = SmallResNet(section.stem, section.widths, heads).to(memory_format=torch.channels_last).train()
    parameters, loss_of = OBJECTIVES[section.objective](section, model, images, table, generator)
    size = min(section.batch, len(images))
    epoch_batches = lambda: batches(len(images), size, generator)  # noqa: E731 (a named function would add nothing)
    fit(
        [{"params": parameters}],
        section.epochs,
        section.rate,
        section.weight_decay,
        epoch_batches,
        len(images) // size,
        loss_of,
        name,
    )
    return model.eval()


def _supervised(
    section: Any, model: SmallResNet, images: np.ndarray, table: pd.DataFrame, generator: torch.Generator
) -> tuple[list, Any]:
    """Cross-entropy on every attribute kind; the L1 term on features makes each of them stand for little."""
    labels = {kind: torch.from_numpy(numbers) for kind, numbers in class_numbers(table).items()}
    weights = {kind: getattr(section.weights, kind) for kind in CLASSIFIED}

    def loss_of(rows: Tensor) -> Tensor:
        views = random_windows(unit_images(images[rows.numpy()]), section.smallest_crop, generator)
        features = model(jitter_colour(views, section.colour_jitter, generator))
        loss = classification_loss(model.logits(features), {kind: labels[kind][rows] for kind in CLASSIFIED}, weights)
        return loss + section.sparsity * features.mean()

    return list(model.parameters()), loss_of


def _simclr(
    section: Any, model: SmallResNet, images: np.ndarray, table: pd.DataFrame, generator: torch.Generator
) -> tuple[list, Any]:
    """NT-Xent between two random views; labels are never looked at."""
    head = projection_head(model.width, section.projection).train()

    def view(pictures: Tensor) -> Tensor:
        cut = random_windows(pictures, section.smallest_crop, generator)
        coloured = grey_some(jitter_colour(cut, section.colour_jitter, generator), section.greyscale, generator)
        return blur_some(coloured, BLURRED, generator)

    def loss_of(rows: Tensor) -> Tensor:
        pictures = unit_images(images[rows.numpy()])
        features = model(torch.cat([view(pictures), view(pictures)]).contiguous(memory_format=torch.channels_last))
        first, second = head(features).chunk(2)
        return nt_xent(first, second, section.temperature) + section.sparsity * features.mean()

    return [*model.parameters(), *head.parameters()], loss_of


OBJECTIVES = {"supervised": _supervised, "simclr": _simclr}


def _features(model: SmallResNet, images: np.ndarray) -> np.ndarray:
    """Features of stored pictures, float32 (images, features)."""
    with torch.no_grad():
        chunks = [
            model.activation_maps(images[start : start + 256]).mean(dim=(2, 3)) for start in range(0, len(images), 256)
        ]
    return torch.cat(chunks).numpy()


def measure(model: SmallResNet, images: np.ndarray, table: pd.DataFrame, shortcut: Any) -> dict[str, Any]:
    """Held-out accuracies, what the shortcut does, and how many features have a clear truth.

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
    found = _by_heads(model, features) if len(model.heads) else _by_probe(features, _features(model, images), table)
    return {
        "accuracy": {kind: float((found[kind] == held_out[kind]).mean()) for kind in CLASSIFIED},
        "shortcut": _shortcut(found["object"], held_out, shortcut),
        "clear_features": clear_features(features, held_out),
    }


def _by_heads(model: SmallResNet, features: np.ndarray) -> dict[str, np.ndarray]:
    """Classes according to the model's own heads."""
    with torch.no_grad():
        logits = model.logits(torch.from_numpy(features))
    return {kind: np.array(VALUES[kind])[scores.argmax(dim=1).numpy()] for kind, scores in logits.items()}


def _by_probe(features: np.ndarray, training_features: np.ndarray, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Classes according to a linear probe in closed form."""
    probes = {
        kind: ridge_classifier(training_features, labels, len(VALUES[kind]))
        for kind, labels in class_numbers(table).items()
    }
    return {kind: np.array(VALUES[kind])[probe(features)] for kind, probe in probes.items()}


def _shortcut(found: np.ndarray, scenes: pd.DataFrame, shortcut: Any) -> dict[str, float]:
    """Accuracy on the planted object where training had it and elsewhere, and what it is taken for."""
    planted = (scenes["object"] == shortcut.object).to_numpy()
    there = (scenes["background"] == shortcut.background).to_numpy()
    lookalike = (scenes["object"] == shortcut.lookalike).to_numpy()
    return {
        "accuracy_on_background": _share(found[planted & there] == shortcut.object),
        "accuracy_elsewhere": _share(found[planted & ~there] == shortcut.object),
        "called_lookalike_elsewhere": _share(found[planted & ~there] == shortcut.lookalike),
        "lookalike_called_object_on_background": _share(found[lookalike & there] == shortcut.object),
    }


def _share(hits: np.ndarray) -> float:
    """Mean of booleans; 0 of none, since metrics hold numbers only."""
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
