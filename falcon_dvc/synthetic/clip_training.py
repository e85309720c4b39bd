"""Train the image-text encoder of the synthetic data set.

Two phases, as contrastive learning alone takes very long to find the object classes. First the image tower learns all
attributes at once, or which words an image's captions have (Joulin et al., ECCV 2016). Its heads are then discarded, and
the text tower learns to match captions with images.
"""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from falcon_dvc.models.scenes import small_clip
from falcon_dvc.models.scenes.small_resnet import unit_images
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

SMALLEST_WINDOW = 16  # pixels
RARE = 0.002  # share of the captions; rarer words are not learned in phase 1
VIEWS = 3  # of each image, that captions are matched with


def train_clip(section: Any, size: int, images: np.ndarray, table: pd.DataFrame) -> tuple[Any, dict[str, Any]]:
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
    if section.warm_start == "words":
        _learn_words(section, model, cut, tokens, generator)
    else:
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
        self.boxes = boxes(table)

    def __call__(self, rows: Tensor) -> Tensor:
        """Cut one view of each image of a batch."""
        count, size = len(rows), self.images.shape[1]
        centres, extents = centres_and_extents(self.boxes[rows] / size)
        margins = uniform(1.0, 2.2, (count,), self.generator)
        near = (extents * margins).clamp(SMALLEST_WINDOW / size, 1.0)
        shift = uniform(-0.2, 0.2, (count, 2), self.generator) * extents[:, None]
        whole = torch.rand(count, generator=self.generator) >= self.crops
        sides = torch.where(whole, uniform(0.75, 1.0, (count,), self.generator), near)
        centres = torch.where(whole[:, None], torch.rand(count, 2, generator=self.generator), centres + shift)
        views = windows(unit_images(self.images[rows.numpy()]), centres, sides)
        return jitter_colour(views, self.jitter, self.generator)


def boxes(table: pd.DataFrame) -> Tensor:
    """Boxes of the objects, float (images, 4): left, top, right, bottom in pixels."""
    return torch.from_numpy(table[["left", "top", "right", "bottom"]].to_numpy(np.float32))


def centres_and_extents(boxes: Tensor) -> tuple[Tensor, Tensor]:
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

    _fit_tower(section, model, heads, loss_of, len(table), generator, "clip, attributes")


def _learn_words(section: Any, model: Any, cut: _Cutter, tokens: Tensor, generator: torch.Generator) -> None:
    """Phase 1 without attributes: predict from the image embedding which words the captions of the image have."""
    targets = weights_of_words(tokens)
    head = nn.Linear(section.embedding, targets.shape[1])

    def loss_of(rows: Tensor) -> Tensor:
        return functional.cross_entropy(head(model.visual(small_clip.prepare(cut(rows)))), targets[rows])

    _fit_tower(section, model, head, loss_of, len(tokens), generator, "clip, words")


def weights_of_words(tokens: Tensor) -> Tensor:
    """Compute what the image tower predicts: the weight of each token in an image's captions, (images, tokens), sums 1.

    A token weighs its share of the image's captions times the logarithm of its rarity (tf-idf), so that those of all
    captions ("a", "photo") weigh little. Rare tokens are left out.
    """
    images, each, _ = tokens.shape
    has = torch.zeros(images, each, int(tokens.max()) + 1).scatter_(2, tokens, 1.0)
    shares = has.mean(dim=1)
    frequency = shares.mean(dim=0)
    weights = shares[:, frequency > RARE] * -frequency[frequency > RARE].log()
    return weights / weights.sum(dim=1, keepdim=True).clamp_min(1e-6)


def _fit_tower(
    section: Any, model: Any, heads: nn.Module, loss_of: Any, count: int, generator: torch.Generator, name: str
) -> None:
    """Run phase 1."""
    parameters = [{"params": [*model.visual.parameters(), *heads.parameters()]}]
    _fit(section, parameters, section.attribute_epochs, section.attribute_rate, loss_of, count, generator, name)


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
