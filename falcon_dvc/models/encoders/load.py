"""Load the encoders to explain. Each computes activation maps of images of any size, with its own preprocessing."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Float, Float32, UInt8

from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import Box, resized
from falcon_dvc.models.encoders.heads import read_head
from falcon_dvc.placeholders import existing

if TYPE_CHECKING:
    from torch import Tensor

Picture = UInt8[np.ndarray, "height width 3"]
Features = Float32[np.ndarray, "images features"]
Maps = Float32[np.ndarray, "images features rows columns"]
NETWORKS = ("torchvision", "timm", "open_clip", "python")
LABELLED = "object"  # the kind of attribute that is the label of a synthetic image


class Encoder(Protocol):
    """The interface of an encoder to explain.

    Attributes
    ----------
    width : int
        Number of features.
    device : str
        Where it runs.
    """

    width: int
    device: str

    def prepare(self, images: Sequence[Picture]) -> "Tensor":
        """Make the network's input from one or more images, on the CPU; must be safe to call from several threads."""
        ...

    def forward(self, batch: "Tensor") -> tuple[Features, Maps | None]:
        """Return features and maps, as `activations`, of prepared images."""
        ...

    def activations(self, images: Sequence[Picture]) -> tuple[Features, Maps | None]:
        """Return the features of one or more images, and the maps that they are pooled from; None if heatmaps need gradients."""
        ...

    def field(self, width: int, height: int) -> Box:
        """Return the box of an image of this size that the maps cover, in pixels: (left, top, right, bottom)."""
        ...


class LocatedByGradients(Encoder, Protocol):
    """An encoder that computes heatmaps by gradients, for features that are not pooled from maps."""

    @property
    def description(self) -> dict[str, Any]:
        """Layers, pooling, input and weights, as JSON can hold them."""
        ...

    def heatmaps(
        self, images: Sequence[Picture], directions: Float[np.ndarray, "images features"]
    ) -> Float32[np.ndarray, "images rows columns"]:
        """Return Grad-CAM of one direction of the features for each image."""
        ...


class ScenesEncoder:
    """An encoder that this project trained on the synthetic data set. It sees the whole image, scaled to its input size.

    Parameters
    ----------
    checkpoint : path
        A file that the stage train_encoder wrote.
    device : str
        Where it runs, for instance "cpu" or "cuda".
    random_seed : int, optional
        Draw all weights again from this seed. The checkpoint then gives the architecture.

    Raises
    ------
    UserError
        If the checkpoint is missing or does not fit.
    """

    size = 64

    def __init__(self, checkpoint: str, device: str = "cpu", random_seed: int | None = None) -> None:
        from falcon_dvc.models.encoders.random_weights import drawn_again
        from falcon_dvc.models.scenes.checkpoints import load_encoder_checkpoint

        network = load_encoder_checkpoint(checkpoint)
        self._network = (network if random_seed is None else drawn_again(network, random_seed)).to(device)
        self.device = device
        self.width = self._network.width

    def activations(self, images: Sequence[Picture]) -> tuple[Features, Maps | None]:
        """Return the last activation maps and their mean over positions."""
        return self.forward(self.prepare(images))

    def forward(self, batch: "Tensor") -> tuple[Features, Maps | None]:
        """Return features and maps, as `activations`, of prepared images."""
        maps = self._maps(batch)
        return maps.mean(axis=(2, 3)), maps

    def activation_maps(self, images: Sequence[Picture]) -> Maps:
        """Return the last activation maps; their mean over positions is the feature vector."""
        return self._maps(self.prepare(images))

    def prepare(self, images: Sequence[Picture]) -> "Tensor":
        """Scale images to the input size; uint8 (images, rows, columns, 3)."""
        import torch

        return torch.from_numpy(np.stack([resized(image, self.size) for image in images]))

    def _maps(self, batch: "Tensor") -> Maps:
        import torch

        with torch.inference_mode():
            pixels = batch.to(self.device, non_blocking=True)
            return self._network.activation_maps(pixels).float().cpu().numpy()

    def field(self, width: int, height: int) -> Box:
        """Return the whole image."""
        return 0, 0, width, height


def load_encoder(spec: Any, device: str = "cpu", param: str = "encoders") -> Encoder:
    """Load an encoder to explain.

    Parameters
    ----------
    spec
        Its entry in the param ``encoders``: kind, and checkpoint (kind scenes), variant (kind efficientnet_lite), or all
        of the schema (other kinds).
    device : str
        Where it runs, for instance "cpu" or "cuda".
    param : str
        The name of the entry, for errors: ``encoders.NAME``.

    Raises
    ------
    UserError
        If the kind is unknown, the checkpoint is missing or does not fit, or packages are missing.
    """
    if spec.kind == "scenes":
        return ScenesEncoder(str(existing(spec.checkpoint, f"{param}.checkpoint")), device, _random_seed(spec))
    if spec.kind == "efficientnet_lite":
        from falcon_dvc.models.encoders.efficientnet_lite import EfficientNetLite

        return EfficientNetLite(spec.variant, device, param, _random_seed(spec))
    if spec.kind in NETWORKS:
        from falcon_dvc.models.encoders.hooked import HookedEncoder

        return HookedEncoder(spec, device, param)
    raise UserError(f"{param}: kind {spec.kind!r} is unknown; use scenes, efficientnet_lite, {', '.join(NETWORKS)}")


def _random_seed(spec: Any) -> int | None:
    """Return the seed of random weights; None for trained ones."""
    return spec.seed if getattr(spec, "weights", None) == "random" else None


def load_located(spec: Any, device: str = "cpu", param: str = "encoders") -> LocatedByGradients:
    """Load an encoder that gives heatmaps by gradients.

    Raises
    ------
    UserError
        As `load_encoder`, or if the encoder's heatmaps are computed from its maps.
    """
    if spec.kind not in NETWORKS:
        raise UserError(f"{param}: heatmaps of kind {spec.kind!r} need maps.npy; run `dvc repro` to make it")
    from falcon_dvc.models.encoders.hooked import HookedEncoder

    return HookedEncoder(spec, device, param)


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
    if spec.kind == "efficientnet_lite":
        from falcon_dvc.models.encoders.efficientnet_lite import classifier, imagenet_class_names, imagenet_synsets

        ids = imagenet_synsets()
        return LinearClassifier(*classifier(spec.variant, param), _distinct(imagenet_class_names(), ids), tuple(ids))
    if spec.kind in NETWORKS:
        return _network_classifier(spec, param)
    return _scenes_classifier(spec.checkpoint) if spec.kind == "scenes" else None


def embedding_map(
    spec: Any, param: str = "encoders"
) -> tuple[Float32[np.ndarray, "features dim"], Float32[np.ndarray, " dim"]] | None:
    """Read the linear map and constant that lead from the features of an open_clip tower to its embedding.

    Return None for another kind, and if the embedding is not linear in the features.

    Raises
    ------
    UserError
        As `load_encoder`.
    """
    if spec.kind != "open_clip":
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
    from falcon_dvc.models.encoders.efficientnet_lite import imagenet_class_names, imagenet_synsets

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
