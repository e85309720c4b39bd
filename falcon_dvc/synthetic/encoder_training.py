"""Train an encoder of the synthetic data set, supervised or by SimCLR."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from falcon_dvc.errors import UserError
from falcon_dvc.models.scenes.small_resnet import SmallResNet, unit_images
from falcon_dvc.synthetic.scenes.scenes import CLASSIFIED, VALUES, class_numbers
from falcon_dvc.synthetic.scenes.several import FURTHER, OF_OBJECTS, class_shares
from falcon_dvc.synthetic.training import (
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
)

BLURRED = 0.3  # share of the views that are blurred a little


def train_encoder(section: Any, images: np.ndarray, table: pd.DataFrame, name: str) -> SmallResNet:
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
    labels = _labels(table, section.further_share)
    weights = {kind: getattr(section.weights, kind) for kind in CLASSIFIED}

    def loss_of(rows: Tensor) -> Tensor:
        views = random_windows(unit_images(images[rows.numpy()]), section.smallest_crop, generator)
        features = model(jitter_colour(views, section.colour_jitter, generator))
        loss = classification_loss(model.logits(features), {kind: labels[kind][rows] for kind in CLASSIFIED}, weights)
        return loss + section.sparsity * features.mean()

    return list(model.parameters()), loss_of


def _labels(table: pd.DataFrame, further: float) -> dict[str, Tensor]:
    """Return the classes of each image; of several objects, each has its share of the label."""
    labels = class_numbers(table)
    if FURTHER + OF_OBJECTS[0] in table:
        labels |= {kind: class_shares(table, kind, further) for kind in OF_OBJECTS}
    return {kind: torch.from_numpy(values) for kind, values in labels.items()}


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
