"""An image captioner: CoCa of open_clip.

The captions are decoded by a beam search in this module. open_clip's ``generate`` requires an old version of the package
transformers.

References
----------
Yu et al., CoCa: Contrastive Captioners are Image-Text Foundation Models, TMLR 2022.
"""

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from falcon_dvc.errors import UserError
from falcon_dvc.models.open_clip.build import loaded, tokenizer_of

PARAM = "generate_captions"

Picture = UInt8[np.ndarray, "height width 3"]
# From prefixes of texts to the log-probability of each next token.
NextToken = Callable[[Int[Tensor, "texts length"]], Float[Tensor, "texts vocabulary"]]


def beam_search(
    log_next: NextToken, images: int, start: int, end: int, beams: int, length: int
) -> Int[Tensor, "images length"]:
    """Find a probable text for each image by a deterministic beam search.

    Each step keeps the `beams` most probable prefixes, including complete texts. The result is the text with the largest
    mean log-probability of its tokens, including the end.

    Parameters
    ----------
    log_next : callable
        From the prefixes of all images, grouped by image, to the log-probabilities of the next tokens.
    images : int
        Number of images.
    start, end : int
        Tokens. Only the end can follow the end.
    beams : int
        Number of prefixes; 1 is greedy search.
    length : int
        Largest number of tokens of a text.

    Returns
    -------
    (images, length or less) tensor
        Tokens without the start, padded with the end.
    """
    texts = torch.full((images, beams, 1), start)
    total = torch.full((images, beams), -torch.inf)
    total[:, 0] = 0.0  # all beams start with the same prefix, so only one may have a finite score
    for _ in range(length):
        log_p = _after_the_end(log_next(texts.flatten(0, 1)).unflatten(0, (images, beams)), texts, end)
        total, best = (total.unsqueeze(2) + log_p).flatten(1).topk(beams)
        parent, token = best // log_p.shape[2], best % log_p.shape[2]
        texts = torch.cat([texts.take_along_dim(parent.unsqueeze(2), dim=1), token.unsqueeze(2)], dim=2)
        if bool((texts[:, :, -1] == end).all()):
            break
    texts = texts[:, :, 1:]
    written = ((texts != end).sum(dim=2) + 1).clamp(max=texts.shape[2])
    winner = (total / written).argmax(dim=1)
    return texts[torch.arange(images), winner]


def _after_the_end(
    log_p: Float[Tensor, "images beams vocabulary"], texts: Int[Tensor, "images beams length"], end: int
) -> Float[Tensor, "images beams vocabulary"]:
    """Allow only the end after the end, with log-probability 0."""
    only_end = torch.full_like(log_p[0, 0], -torch.inf)
    only_end[end] = 0.0
    return torch.where((texts[:, :, -1:] == end), only_end, log_p)


class CoCa:
    """A CoCa of the open_clip family.

    Parameters
    ----------
    model : open_clip.CoCa
        From images and tokens to logits.
    tokenizer : open_clip.SimpleTokenizer
        From tokens to text.
    transform : callable
        From a PIL image to the model's input.
    beams, max_length : int
        See `beam_search`.
    device : str
        Where it runs.
    """

    def __init__(
        self, model: Any, tokenizer: Any, transform: Callable, beams: int, max_length: int, device: str = "cpu"
    ) -> None:
        self._model = model.eval().float().to(device)
        self._tokenizer, self._transform, self._device = tokenizer, transform, device
        self._beams, self._max_length = beams, max_length

    @torch.inference_mode()
    def captions(self, images: Sequence[Picture]) -> list[str]:
        """Return one text for each image of any size, which does not depend on the other images."""
        batch = torch.stack([self._transform(Image.fromarray(image)) for image in images]).to(self._device)
        start, end = self._tokenizer.sot_token_id, self._tokenizer.eot_token_id
        texts = beam_search(self._next_token(batch), len(images), start, end, self._beams, self._max_length)
        return [self._text(tokens) for tokens in texts.tolist()]

    def _next_token(self, batch: Float[Tensor, "images 3 size size"]) -> NextToken:
        """Encode the images once, and return the function that predicts the next tokens of their texts."""
        encoded = self._model(batch)
        image_inputs = {
            "image_latent": encoded["image_features"].repeat_interleave(self._beams, dim=0),
            "image_embs": encoded["image_embs"].repeat_interleave(self._beams, dim=0),
        }

        def log_next(texts: Int[Tensor, "texts length"]) -> Float[Tensor, "texts vocabulary"]:
            output = self._model(None, texts.to(self._device), **image_inputs, output_labels=False)
            logits = output["logits"][:, -1].float().cpu()
            logits[:, self._tokenizer.sot_token_id] = -torch.inf
            return logits.log_softmax(dim=1)

        return log_next

    def _text(self, tokens: Sequence[int]) -> str:
        end = self._tokenizer.eot_token_id
        return self._tokenizer.decode(list(takewhile(lambda token: token != end, tokens)))


def load_captioner(spec: Any, device: str = "cpu") -> CoCa:
    """Load the captioner.

    Parameters
    ----------
    spec
        The param ``generate_captions``: name, pretrained (a tag of open_clip, or "checkpoint"), checkpoint, beams, max_length.
    device : str
        Where it runs, for instance "cpu" or "cuda".

    Raises
    ------
    UserError
        If the model is no captioner, its weights cannot be loaded, or max_length exceeds its context.
    """
    import open_clip

    model, transform, source = loaded(spec, PARAM)
    tokenizer = tokenizer_of(source.name, PARAM)
    if not isinstance(model, open_clip.CoCa) or not isinstance(tokenizer, open_clip.SimpleTokenizer):
        raise UserError(
            f"{PARAM}.name: {spec.name!r} is not a captioner; use coca_ViT-L-14 or coca_ViT-B-32 of open_clip"
        )
    if spec.max_length > model.context_length:
        raise UserError(
            f"{PARAM}.max_length: {spec.max_length} exceeds the context of {spec.name!r}; use at most {model.context_length}"
        )
    return CoCa(model, tokenizer, transform, spec.beams, spec.max_length, device)
