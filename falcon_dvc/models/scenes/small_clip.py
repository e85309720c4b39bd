"""The image-text encoder of the synthetic data set: an open_clip model, small enough to train on two cores."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

MEAN, DEVIATION = 0.5, 0.28  # of pixel values in [0, 1]


def build_clip(
    image_size: int,
    embedding: int,
    width: int,
    layers: list[int],
    text_width: int,
    text_layers: int,
    context: int,
    vocabulary: int,
) -> Any:
    """Build an open_clip model from a custom configuration.

    Parameters
    ----------
    image_size
        Pixels a side.
    embedding
        Width of the joint space.
    width, layers
        Channels of the stem and blocks of the three stages of the image tower.
    text_width, text_layers, context
        Transformer of the text tower.
    vocabulary
        Rows of the token embedding.

    Returns
    -------
    open_clip.model.CLIP
        Its `visual` is open_clip's ModifiedResNet without the fourth stage, whose map of a 64x64 picture would be 2x2.
    """
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    vision = CLIPVisionCfg(layers=(*layers, 1), width=width, head_width=32, image_size=image_size)
    text = CLIPTextCfg(
        context_length=context, vocab_size=vocabulary, width=text_width, heads=text_width // 32, layers=text_layers
    )
    model = CLIP(embed_dim=embedding, vision_cfg=vision, text_cfg=text)
    model.visual.layer4 = nn.Identity()
    model.visual.attnpool = _attention_pool(image_size // 16, width * 16, embedding)
    return model


def _attention_pool(cells: int, channels: int, embedding: int) -> nn.Module:
    """Pool the maps of the third stage, initialised as ModifiedResNet does with its own pool."""
    from open_clip.modified_resnet import AttentionPool2d

    pool = AttentionPool2d(cells, channels, channels // 48, embedding)
    for projection in (pool.q_proj, pool.k_proj, pool.v_proj, pool.c_proj):
        nn.init.normal_(projection.weight, std=channels**-0.5)
    return pool


def build_tokenizer(context: int) -> Any:
    """Build open_clip's tokenizer with a context length."""
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(context_length=context)


def prepare(images: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch 3 rows columns"]:
    """Standardise pictures with values in [0, 1] for the image tower."""
    return (images - MEAN) / DEVIATION


def embed_images(model: Any, images: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch embedding"]:
    """Embed pictures with values in [0, 1]; return unit rows."""
    return model.encode_image(prepare(images), normalize=True)


def token_vocabulary(tokens: Int[Tensor, "captions context"]) -> list[int]:
    """Return the tokens that occur, ascending. open_clip finds the end-of-text token as the largest, so it must stay last."""
    return torch.unique(tokens).tolist()


def compact_tokens(tokens: Int[Tensor, "captions context"], token_ids: list[int]) -> Int[Tensor, "captions context"]:
    """Replace tokens by their positions in `token_ids`, which must contain all of them."""
    return torch.searchsorted(torch.tensor(token_ids), tokens)


def zero_shot_weights(
    model: Any, tokens_of_class: list[Int[Tensor, "prompts context"]]
) -> Float[Tensor, "classes embedding"]:
    """Return one unit text embedding per class, the mean over its prompts."""
    with torch.no_grad():
        means = [model.encode_text(tokens, normalize=True).mean(dim=0) for tokens in tokens_of_class]
    return torch.nn.functional.normalize(torch.stack(means), dim=1)
