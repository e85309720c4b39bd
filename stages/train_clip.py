"""Stage: train the image-text encoder of the rendered world with open_clip, and measure it on images it never saw.

Two phases: the image tower learns all attributes at once (contrastive learning alone takes very long to find the object classes),
then the attribute heads are thrown away and the text tower learns to match captions with images.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from falcon_dvc.artifacts.formats import read_array, read_table, write_json
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.models.scenes import small_clip
from falcon_dvc.models.scenes.checkpoints import load_clip, save_clip
from falcon_dvc.models.scenes.small_resnet import unit_images
from falcon_dvc.synthetic.captions import prompts
from falcon_dvc.synthetic.scenes.scenes import CLASSIFIED, VALUES, class_numbers
from falcon_dvc.synthetic.training import (
    batches,
    classification_loss,
    fit,
    jitter_colour,
    make_deterministic,
    uniform,
    windows,
)

SCENES, TRAINING = Path("data/scenes"), Path("data/training")
CHECKPOINT, METRICS = Path("models/clip.safetensors"), Path("reports/metrics/clip.json")
MARGIN = 0.25  # around an object's box on each side, as a share of the box, when accuracy on crops is measured
SMALLEST_WINDOW = 16  # pixels
VIEWS = 3  # of each image, that captions are matched with


def run(params: Any) -> StageSummary:
    """Train the image-text encoder, save it, and write its zero-shot accuracies.

    Parameters
    ----------
    params
        Mirrors params.yaml; the sections ``render_scenes`` (size) and ``train_clip`` are used.
    """
    section = params.train_clip
    images, table = read_array(TRAINING / "clip.npy"), read_table(TRAINING / "clip.parquet")
    model, config = train(section, params.render_scenes.size, images, table)
    save_clip(CHECKPOINT, model, config)
    write_json(METRICS, _measure(CHECKPOINT))
    captions = int(table["captions"].map(len).sum())
    return StageSummary(read={"images": len(table), "captions": captions}, wrote={f"model to {CHECKPOINT}": 1})


def train(section: Any, size: int, images: np.ndarray, table: pd.DataFrame) -> tuple[Any, dict[str, Any]]:
    """Train on images, attributes, boxes and captions.

    Returns
    -------
    model : open_clip.model.CLIP
        With a vocabulary of the captions' tokens only.
    config : dict
        For `save_clip`.
    """
    generator = make_deterministic(section.seed)
    tokens, token_ids = _tokens(table["captions"], section.context)
    config = {
        "image_size": size, "embedding": section.embedding, "width": section.width, "layers": list(section.layers),
        "text_width": section.text_width, "text_layers": section.text_layers, "context": section.context,
    }  # fmt: skip
    model = small_clip.build_clip(**config, vocabulary=len(token_ids)).to(memory_format=torch.channels_last).train()
    cut = _Cutter(images, table, section.crops, section.colour_jitter, generator)
    _learn_attributes(section, model, cut, table, generator)
    _learn_captions(section, model, cut, tokens, generator)
    return model.eval(), config | {"token_ids": token_ids}


def _tokens(captions: pd.Series, context: int) -> tuple[Tensor, list[int]]:
    """Tokenise every caption: compact tokens (images, captions per image, context), and the vocabulary."""
    each = len(captions.iloc[0])
    tokens = small_clip.build_tokenizer(context)([text for texts in captions for text in texts])
    token_ids = small_clip.token_vocabulary(tokens)
    return small_clip.compact_tokens(tokens, token_ids).reshape(len(captions), each, context), token_ids


class _Cutter:
    """Training views: whole pictures (nearly), and crops around the objects, since crops are what the model is for."""

    def __init__(
        self, images: np.ndarray, table: pd.DataFrame, crops: float, jitter: float, generator: torch.Generator
    ) -> None:
        self.images, self.crops, self.jitter, self.generator = images, crops, jitter, generator
        self.boxes = _boxes(table)

    def __call__(self, rows: Tensor) -> Tensor:
        """Cut one view of each image of a batch."""
        count, size = len(rows), self.images.shape[1]
        centres, extents = _centres_and_extents(self.boxes[rows] / size)
        margins = uniform(1.0, 2.2, (count,), self.generator)
        near = (extents * margins).clamp(SMALLEST_WINDOW / size, 1.0)
        shift = uniform(-0.2, 0.2, (count, 2), self.generator) * extents[:, None]
        whole = torch.rand(count, generator=self.generator) >= self.crops
        sides = torch.where(whole, uniform(0.75, 1.0, (count,), self.generator), near)
        centres = torch.where(whole[:, None], torch.rand(count, 2, generator=self.generator), centres + shift)
        views = windows(unit_images(self.images[rows.numpy()]), centres, sides)
        return jitter_colour(views, self.jitter, self.generator)


def _boxes(table: pd.DataFrame) -> Tensor:
    """Boxes of the objects, float (images, 4): left, top, right, bottom in pixels."""
    return torch.from_numpy(table[["left", "top", "right", "bottom"]].to_numpy(np.float32))


def _centres_and_extents(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Centre (batch, 2) and longer side (batch,) of boxes."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).amax(dim=1)


def _learn_attributes(section: Any, model: Any, cut: _Cutter, table: pd.DataFrame, generator: torch.Generator) -> None:
    """Phase 1: classify all attributes from the image embedding."""
    heads = nn.ModuleDict({kind: nn.Linear(section.embedding, len(VALUES[kind])) for kind in CLASSIFIED})
    labels = {kind: torch.from_numpy(numbers) for kind, numbers in class_numbers(table).items()}
    weights = dict.fromkeys(CLASSIFIED, 1.0)

    def loss_of(rows: Tensor) -> Tensor:
        embeddings = model.visual(small_clip.prepare(cut(rows)))
        scores = {kind: head(embeddings) for kind, head in heads.items()}
        return classification_loss(scores, {kind: labels[kind][rows] for kind in CLASSIFIED}, weights)

    parameters = [{"params": [*model.visual.parameters(), *heads.parameters()]}]
    _fit(
        section,
        parameters,
        section.attribute_epochs,
        section.attribute_rate,
        loss_of,
        len(table),
        generator,
        "clip, attributes",
    )


def _learn_captions(section: Any, model: Any, cut: _Cutter, tokens: Tensor, generator: torch.Generator) -> None:
    """Phase 2: match images and captions, the image tower locked but for a linear map of its output (LiT, Zhai et al. 2022)."""
    from open_clip.loss import ClipLoss

    embeddings, contrastive = _locked_embeddings(model, cut, len(tokens)), ClipLoss()
    adapter = nn.Linear(section.embedding, section.embedding)
    nn.init.eye_(adapter.weight)
    nn.init.zeros_(adapter.bias)

    def loss_of(rows: Tensor) -> Tensor:
        view = torch.randint(VIEWS, (len(rows),), generator=generator)
        caption = torch.randint(tokens.shape[1], (len(rows),), generator=generator)
        image = functional.normalize(adapter(embeddings[view, rows]), dim=1)
        text = model.encode_text(tokens[rows, caption], normalize=True)
        return contrastive(image, text, model.logit_scale.clamp(max=4.6).exp())

    tower = {id(parameter) for parameter in model.visual.parameters()}
    text = [parameter for parameter in model.parameters() if id(parameter) not in tower]
    parameters = [{"params": [*text, *adapter.parameters()]}]
    _fit(
        section,
        parameters,
        section.contrastive_epochs,
        section.contrastive_rate,
        loss_of,
        len(tokens),
        generator,
        "clip, captions",
    )
    _fold(adapter, model.visual.attnpool.c_proj)


def _locked_embeddings(model: Any, cut: _Cutter, count: int) -> Tensor:
    """Image embeddings of VIEWS random views of every image, float (VIEWS, images, embedding)."""
    model.visual.eval()
    with torch.no_grad():
        chunks = [
            model.visual(small_clip.prepare(cut(rows))) for _ in range(VIEWS) for rows in torch.arange(count).split(256)
        ]
    return torch.cat(chunks).reshape(VIEWS, count, -1)


def _fold(adapter: nn.Linear, projection: nn.Linear) -> None:
    """Multiply a linear map into the layer before it, so that the model keeps open_clip's architecture."""
    with torch.no_grad():
        projection.bias.copy_(adapter.weight @ projection.bias + adapter.bias)
        projection.weight.copy_(adapter.weight @ projection.weight)


def _fit(
    section: Any,
    parameters: list[dict],
    epochs: int,
    rate: float,
    loss_of: Any,
    count: int,
    generator: torch.Generator,
    name: str,
) -> None:
    """Run one phase."""
    size = min(section.batch, count)
    fit(
        parameters,
        epochs,
        rate,
        section.weight_decay,
        lambda: batches(count, size, generator),
        count // size,
        loss_of,
        name,
    )


def _measure(path: Path) -> dict[str, Any]:
    """Zero-shot accuracies of a saved model on the test split: whole pictures, and crops around the objects."""
    model, tokenizer = load_clip(path)
    table = read_table(SCENES / "attributes.parquet")
    test = np.flatnonzero(table["split"] == "test")
    images, held_out = unit_images(read_array(SCENES / "images.npy")[test]), table.iloc[test]
    centres, extents = _centres_and_extents(_boxes(held_out) / images.shape[2])
    sides = (extents * (1 + 2 * MARGIN)).clamp(SMALLEST_WINDOW / images.shape[2], 1.0)
    return {
        "zero_shot": zero_shot(model, tokenizer, images, held_out),
        "crops": zero_shot(model, tokenizer, windows(images, centres, sides), held_out),
    }


def zero_shot(model: Any, tokenizer: Any, images: Tensor, table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Accuracy per attribute kind: the class whose prompts are nearest to the image wins."""
    with torch.no_grad():
        embeddings = torch.cat([small_clip.embed_images(model, chunk) for chunk in images.split(256)])
    accuracies = {}
    for kind, labels in class_numbers(table).items():
        weights = small_clip.zero_shot_weights(model, [tokenizer(prompts(kind, value)) for value in VALUES[kind]])
        found = (embeddings @ weights.T).argmax(dim=1)
        accuracies[kind] = {"accuracy": float((found.numpy() == labels).mean())}
    return accuracies
