"""Read the classifier of an encoder to explain, without the encoder if possible."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from falcon_dvc.errors import UserError
from falcon_dvc.models.encoders.heads import read_head

NETWORKS = ("torchvision", "timm", "open_clip", "python")
LABELLED = "object"  # the kind of attribute that is the label of a synthetic image


@dataclass(frozen=True)
class LinearClassifier:
    """The last layer of an encoder that was trained to classify. Its logits are ``weights @ features + bias``.

    Attributes
    ----------
    weights, bias
        One row, and one number, for each class.
    names
        Readable names of the classes, all different.
    ids
        Names of the classes as folders of a data set: synsets for ImageNet, otherwise `names`.
    """

    weights: Float32[np.ndarray, "classes features"]
    bias: Float32[np.ndarray, " classes"]
    names: tuple[str, ...]
    ids: tuple[str, ...]


def linear_classifier(spec: Any, param: str = "encoders") -> LinearClassifier | None:
    """Read the classifier of an encoder to explain, without the encoder if possible; None if it has no classifier.

    Parameters
    ----------
    spec
        Its entry in the param ``encoders``, as for `load_encoder`.
    param : str
        The name of the entry, for errors: ``encoders.NAME``.

    Raises
    ------
    UserError
        If the checkpoint or the head is missing or does not fit, classes have no names, or packages are missing.
    """
    head = getattr(spec, "head", None)
    if head is None and getattr(spec, "control_of", None):
        return None  # a classifier of random weights
    if head is not None:
        return _named(*read_head(head, param=param), spec.classes, param)
    if getattr(spec, "basis", None) is not None:
        raise UserError(
            f"{param}.basis: the network's own classifier reads the channels of a layer, not the features of a basis; list the "
            "encoder in fit_probe.encoders, name a head of these features, or leave it out of failures and evaluate_units"
        )
    if spec.kind == "efficientnet_lite":
        from falcon_dvc.models.encoders.efficientnet_lite import classifier
        from falcon_dvc.models.imagenet import imagenet_class_names, imagenet_synsets

        ids = imagenet_synsets()
        return LinearClassifier(*classifier(spec.variant, param), _distinct(imagenet_class_names(), ids), tuple(ids))
    if spec.kind in NETWORKS:
        return _network_classifier(spec, param)
    return _scenes_classifier(spec.checkpoint) if spec.kind == "scenes" else None


def embedding_map(
    spec: Any, param: str = "encoders"
) -> tuple[Float32[np.ndarray, "features dim"], Float32[np.ndarray, " dim"]] | None:
    """Read the linear map and constant that lead from the features of an open_clip tower to its embedding.

    Return None for another kind, for features of a basis, and if the embedding is not linear in the features.

    Raises
    ------
    UserError
        As `falcon_dvc.models.encoders.load.load_encoder`.
    """
    if spec.kind != "open_clip" or spec.basis is not None:
        return None
    from falcon_dvc.models.encoders.hooked import HookedEncoder

    return HookedEncoder(spec, param=param).embedding_map()


def _network_classifier(spec: Any, param: str) -> LinearClassifier | None:
    """Read the classifier of a network by name."""
    from falcon_dvc.models.encoders.hooked import HookedEncoder

    encoder = HookedEncoder(spec, param=param)
    layer = encoder.final_layer()
    return None if layer is None else _named(*layer, encoder.classes, param)


def _named(weights: np.ndarray, bias: np.ndarray, classes: Sequence[str] | None, param: str) -> LinearClassifier:
    """Name the outputs of a classifier."""
    if classes is None:
        raise UserError(f"{param}.classes: missing; list the names of the classifier's {len(bias)} outputs, in order")
    ids, names = _of_imagenet() if tuple(classes) == ("imagenet",) else (classes, classes)
    if len(ids) != len(bias) or len(set(ids)) != len(ids):
        raise UserError(
            f"{param}.classes: must hold {len(bias)} different names, one for each output of the classifier"
        )
    return LinearClassifier(weights, bias, _distinct(names, ids), tuple(ids))


def _of_imagenet() -> tuple[list[str], list[str]]:
    from falcon_dvc.models.imagenet import imagenet_class_names, imagenet_synsets

    return imagenet_synsets(), imagenet_class_names()


def _distinct(names: Sequence[str], ids: Sequence[str]) -> tuple[str, ...]:
    """Append the id to a name that several classes share."""
    count = Counter(names)
    return tuple(name if count[name] == 1 else f"{name} ({key})" for name, key in zip(names, ids, strict=True))


def _scenes_classifier(checkpoint: str) -> LinearClassifier | None:
    """Read the classification head of the images' labels from a checkpoint of this project, without torch."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(checkpoint, framework="numpy") as file:
            names = json.loads(file.metadata()["config"])["heads"].get(LABELLED)
            if not names:
                return None
            weights, bias = (
                file.get_tensor(f"heads.{LABELLED}.{part}").astype(np.float32) for part in ("weight", "bias")
            )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{checkpoint}: not a readable checkpoint of an encoder ({error}); train it again") from error
    return LinearClassifier(weights, bias, tuple(names), tuple(names))
