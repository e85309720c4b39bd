"""Train the image-text encoder of the synthetic data set with open_clip, and measure it on held-out images.

Training has two phases. First the image tower learns all attributes at once. Contrastive learning alone takes very
long to find the object classes. The attribute heads are then discarded, and the text tower learns to match captions
with images.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from falcon_dvc.artifacts.formats import read_array, read_table, write_json
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.models.scenes import small_clip
from falcon_dvc.models.scenes.checkpoints import load_clip, save_clip
from falcon_dvc.models.scenes.small_resnet import unit_images
from falcon_dvc.synthetic.captions import prompts
from falcon_dvc.synthetic.clip_training import SMALLEST_WINDOW, boxes, centres_and_extents, train_clip
from falcon_dvc.synthetic.scenes.scenes import VALUES, class_numbers
from falcon_dvc.synthetic.training import (
    windows,
)

SCENES, TRAINING = Path("data/scenes"), Path("data/training")
CHECKPOINT, METRICS = Path("models/clip.safetensors"), Path("reports/metrics/clip.json")
MARGIN = 0.25  # margin of a crop on each side of an object's box, as a share of the box


def run(params: Any) -> StageSummary:
    """Train the image-text encoder, save it, and write its zero-shot accuracies.

    Parameters
    ----------
    params
        The params; the stage uses ``render_scenes.size`` and ``train_clip``.
    """
    section = params.train_clip
    images, table = read_array(TRAINING / "clip.npy"), read_table(TRAINING / "clip.parquet")
    model, config = train_clip(section, params.render_scenes.size, images, table)
    save_clip(CHECKPOINT, model, config)
    write_json(METRICS, _measure(CHECKPOINT))
    captions = int(table["captions"].map(len).sum())
    return StageSummary(read={"images": len(table), "captions": captions}, wrote={f"model to {CHECKPOINT}": 1})


def _measure(path: Path) -> dict[str, Any]:
    """Compute zero-shot accuracies of a saved model on the test split, on whole images and on crops around objects."""
    model, tokenizer = load_clip(path)
    table = read_table(SCENES / "attributes.parquet")
    test = np.flatnonzero(table["split"] == "test")
    images, held_out = unit_images(read_array(SCENES / "images.npy")[test]), table.iloc[test]
    centres, extents = centres_and_extents(boxes(held_out) / images.shape[2])
    sides = (extents * (1 + 2 * MARGIN)).clamp(SMALLEST_WINDOW / images.shape[2], 1.0)
    return {
        "zero_shot": zero_shot(model, tokenizer, images, held_out),
        "crops": zero_shot(model, tokenizer, windows(images, centres, sides), held_out),
    }


def zero_shot(model: Any, tokenizer: Any, images: Tensor, table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Compute the accuracy for each kind of attribute.

    The predicted class is the one whose prompts are nearest to the image.
    """
    with torch.no_grad():
        embeddings = torch.cat([small_clip.embed_images(model, chunk) for chunk in images.split(256)])
    accuracies = {}
    for kind, labels in class_numbers(table).items():
        weights = small_clip.zero_shot_weights(model, [tokenizer(prompts(kind, value)) for value in VALUES[kind]])
        predicted = (embeddings @ weights.T).argmax(dim=1)
        accuracies[kind] = {"accuracy": float((predicted.numpy() == labels).mean())}
    return accuracies
