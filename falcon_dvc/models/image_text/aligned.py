"""An image-text encoder that is learned from pairs: a linear map from the features of networks to embeddings of sentences.

An image x with the features f(x) has the embedding

    v(x) = unit(unit(W standardised(sqrt f(x)) + b) + weight * ConSE(x))

and a text t, of the sentence embedding s(t), has unit(M (s(t) - m)). M whitens the captions of the pairs, so that the
directions that all captions share do not decide. W is a ridge regression to the mean embedding of each image's captions
(stage ``align_image_text``). ConSE needs no pairs, and names classes that they lack.

References
----------
Socher et al., Zero-Shot Learning Through Cross-Modal Transfer, NeurIPS 2013, for a map from images to embeddings of words.
Norouzi et al., arXiv 1312.5650, 2013, for ConSE.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32, Int
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from scipy.special import softmax

from falcon_dvc.artifacts.formats import write_bytes
from falcon_dvc.errors import UserError, one_line
from falcon_dvc.models.image_text.base import PARAM, Picture, sha256
from falcon_dvc.models.image_text.conse import (
    SentenceEncoder,
    convex_combination,
    digest_of,
    folder_digest,
    installed_sentences,
)
from falcon_dvc.models.image_text.towers import Towers, spread_evenly
from falcon_dvc.models.imagenet import class_texts
from falcon_dvc.placeholders import existing

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "falcon-aligned"
AGAIN = "learn it again (stage align_image_text), or use another file"


@dataclass(frozen=True)
class Alignment:
    """Hold a map from the features of networks to texts, and that from sentence embeddings to texts.

    Attributes
    ----------
    level, spread : mean and standard deviation of the square roots of the features, (features,).
    weights, bias : of the map, (features, dim) and (dim,).
    text_level, text_weights : m and M of the sentence embeddings, (dim,) and (dim, dim).
    """

    level: Float32[np.ndarray, " features"]
    spread: Float32[np.ndarray, " features"]
    weights: Float32[np.ndarray, "features dim"]
    bias: Float32[np.ndarray, " dim"]
    text_level: Float32[np.ndarray, " dim"]
    text_weights: Float32[np.ndarray, "dim dim"]

    def __call__(self, features: Float[np.ndarray, "images features"]) -> Float[np.ndarray, "images dim"]:
        """Return unit rows."""
        return unit(((spread_evenly(features) - self.level) / self.spread) @ self.weights + self.bias)

    def texts(self, sentences: Float[np.ndarray, "texts dim"]) -> Float32[np.ndarray, "texts dim"]:
        """Return unit rows of sentence embeddings."""
        return unit((sentences - self.text_level) @ self.text_weights).astype(np.float32)


def whitening(
    sentences: Float[np.ndarray, "texts dim"], shrinkage: float | None
) -> tuple[Float[np.ndarray, " dim"], Float[np.ndarray, "dim dim"]]:
    """Compute the mean of sentence embeddings, and the symmetric map that makes their covariance close to the identity.

    Parameters
    ----------
    shrinkage : added to the variance along each direction, in units of the mean variance. None: nothing is subtracted or scaled.
    """
    dim = sentences.shape[1]
    if shrinkage is None:
        return np.zeros(dim), np.eye(dim)
    level = sentences.mean(axis=0, dtype=np.float64)
    variance, directions = np.linalg.eigh(np.cov(sentences.T.astype(np.float64)))
    scale = np.sqrt(np.maximum(variance, 0) + shrinkage * variance.mean())
    return level, (directions / scale) @ directions.T


def unit(rows: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim"]:
    """Scale rows to length 1; a row of zeros stays one."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


class Sentences:
    """The sentence encoder of a folder, or the installed one, with the digest of its files."""

    def __init__(self, folder: str | None, device: str) -> None:
        path = installed_sentences() if folder is None else Path(folder)
        self.digest = sha256(path / "model.safetensors") if folder is None else folder_digest(path)
        self._encoder = SentenceEncoder(path, device)
        self.dim, self.embed = self._encoder.dim, self._encoder.embed


class ClassNames:
    """ConSE on features that are computed already.

    Parameters
    ----------
    towers
        Networks, one of which has a classifier.
    embed : callable
        From texts, one for each class, to their embeddings.
    top : int
        Number of classes in an image's embedding.
    param : str
        For errors.

    Raises
    ------
    UserError
        If no network has a classifier.
    """

    def __init__(self, towers: Towers, embed: Callable[[list[str]], np.ndarray], top: int, param: str) -> None:
        found = towers.classifier()
        if found is None:
            raise UserError(f"{param}: no network of towers has a classifier, which ConSE needs; set conse to 0")
        self._place, self._classifier = found
        self._embed, self._top = embed, top

    @cached_property
    def texts(self) -> list[str]:
        """What the sentence encoder reads for each class."""
        return class_texts(self._classifier.ids, self._classifier.names)

    @cached_property
    def _embeddings(self) -> Float32[np.ndarray, "classes dim"]:
        return self._embed(self.texts)

    def __call__(self, features: Float[np.ndarray, "images features"]) -> Float[np.ndarray, "images dim"]:
        """Return unit rows."""
        logits = features[:, self._place] @ self._classifier.weights.T + self._classifier.bias
        return convex_combination(softmax(logits, axis=1), self._embeddings, self._top)


class Aligned:
    """The image-text encoder that `align_image_text` wrote to a file.

    Parameters
    ----------
    path : str
        The file.
    read_towers : callable
        From the entries in the file to specs of networks; raises `UserError` if they are not valid.
    device : str
        Where the networks run.

    Raises
    ------
    UserError
        If the file is missing or damaged, or was learned with other networks than those that it names now.
    """

    def __init__(self, path: str, read_towers: Any, device: str = "cpu") -> None:
        alignment, config = load_alignment(existing(path, f"{PARAM}.checkpoint"))
        self._towers = Towers(read_towers(config["towers"]), device, f"{path}: towers")
        self._sentences = Sentences(config["sentences"], device)
        self._alignment, self._weight = alignment, config["conse"]
        _check_parts(path, alignment, self._towers, self._sentences, config)
        self._class_names = ClassNames(self._towers, self.embed_texts, config["top"], path) if self._weight else None
        self.dim = self._sentences.dim
        texts = "" if self._class_names is None else f":{digest_of(self._class_names.texts)}"
        self.fingerprint, self.preprocessing = f"aligned:{sha256(path)}{texts}", self._towers.preprocessing()

    def embed_images(self, images: Sequence[Picture]) -> Float32[np.ndarray, "images dim"]:
        """Return unit rows, one for each image of any size."""
        return self.embed_prepared(self.prepare(images))

    def prepare(self, images: Sequence[Picture]) -> Tensor:
        """Make the inputs of all networks from one or more images, on the CPU."""
        return self._towers.prepare(images)

    def embed_prepared(self, batch: Tensor) -> Float32[np.ndarray, "images dim"]:
        """Return the embeddings, as `embed_images`, of prepared images."""
        return self._embedded(self._towers.features(batch))

    def embed_with_maps(
        self, batch: Tensor
    ) -> tuple[Float32[np.ndarray, "images dim"], list[Float32[np.ndarray, "images channels rows columns"]]]:
        """Return the embeddings of prepared images, and the maps of each network, from which `embed_boxes` embeds crops."""
        features, maps = self._towers.features_and_maps(batch)
        return self._embedded(features), maps

    def embed_boxes(
        self,
        maps: Sequence[Float[np.ndarray, "images channels rows columns"]],
        shapes: Int[np.ndarray, "images 2"],
        boxes: Sequence[Int[np.ndarray, "boxes 4"]],
    ) -> Float32[np.ndarray, "all_boxes dim"]:
        """Return unit rows for boxes of images, from the maps of the images (`Towers.features_of_boxes`)."""
        return self._embedded(self._towers.features_of_boxes(maps, shapes, boxes))

    def _embedded(self, features: Float32[np.ndarray, "items features"]) -> Float32[np.ndarray, "items dim"]:
        mapped = self._alignment(features)
        if self._class_names is not None:
            mapped = unit(mapped + self._weight * self._class_names(features))
        return mapped.astype(np.float32)

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts dim"]:
        """Return unit rows, one for each text."""
        return self._alignment.texts(self._sentences.embed(texts))


def _check_parts(path: str, alignment: Alignment, towers: Towers, sentences: Sentences, config: dict) -> None:
    """Refuse networks whose weights are not those that the map was learned with."""
    if alignment.weights.shape != (towers.width, sentences.dim):
        raise UserError(
            f"{path}: maps {alignment.weights.shape[0]} features to {alignment.weights.shape[1]} numbers, but its networks "
            f"have {towers.width} and {sentences.dim}; {AGAIN}"
        )
    for part, digest in (("towers", towers.digest()), ("sentences", sentences.digest)):
        if digest != config[f"{part}_digest"]:
            raise UserError(f"{path}: was learned with other weights of its {part} than those that are there; {AGAIN}")


def save_alignment(path: Path, alignment: Alignment, config: dict[str, Any]) -> None:
    """Save a map with what it belongs to.

    Parameters
    ----------
    config
        ``towers`` (entries as in params.yaml), ``towers_digest``, ``sentences`` (folder or None), ``sentences_digest``,
        ``conse`` (weight) and ``top``.
    """
    # One entry, as the order of several differs between processes.
    tensors = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in vars(alignment).items()}
    write_bytes(path, save(tensors, {FORMAT: json.dumps(config, sort_keys=True)}))


def load_alignment(path: Path) -> tuple[Alignment, dict[str, Any]]:
    """Load a map and what it belongs to.

    Raises
    ------
    UserError
        If the file is not such a map.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in Alignment.__annotations__}
        return _checked(Alignment(**tensors)), _checked_config(json.loads(metadata[FORMAT]))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is no image-text encoder of align_image_text ({one_line(error)}); {AGAIN}") from error


def _checked(alignment: Alignment) -> Alignment:
    """Refuse tensors that do not fit each other, or hold values that are not finite.

    Raises
    ------
    ValueError
        If they do.
    """
    features, dim = alignment.weights.shape
    of_features, of_texts = (alignment.level, alignment.spread), (alignment.bias, alignment.text_level)
    fits = all(value.shape == (features,) for value in of_features) and all(value.shape == (dim,) for value in of_texts)
    if not fits or alignment.text_weights.shape != (dim, dim):
        raise ValueError("its tensors do not fit each other")
    if not all(np.isfinite(value).all() for value in vars(alignment).values()) or not (alignment.spread > 0).all():
        raise ValueError("its tensors hold values that are not finite")
    return alignment


def _checked_config(config: Any) -> dict[str, Any]:
    """Refuse a description of the wrong types.

    Raises
    ------
    ValueError
        If it is one.
    """
    types = {
        "towers": list,
        "towers_digest": str,
        "sentences": str | None,
        "sentences_digest": str,
        "conse": float | int,
        "top": int,
    }
    if set(config) != set(types) or not all(isinstance(config[key], types[key]) for key in types):
        raise ValueError("its description is not complete")
    if not 0 <= config["conse"] < np.inf or config["top"] < 1:
        raise ValueError("its description has values that are not possible")
    return config
