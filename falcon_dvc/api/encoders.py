"""Accept an encoder of a notebook: a network in memory, an object, or arrays; compute its activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from falcon_dvc.api.bases import arrays_in_basis, prepared_basis
from falcon_dvc.crops.heatmaps import Boxes, Heatmaps, group_heatmaps
from falcon_dvc.errors import UserError
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from torch import nn

    from falcon_dvc.images.source import ImageSource
    from falcon_dvc.models.encoders.hooked import HookedEncoder
    from falcon_dvc.params.schema import ExtractActivations

AT_ONCE = 32  # images in one pass with gradients
KINDS = (
    "give a torch module, an array (images, features), a pair (features, maps), or an object with prepare and forward"
)


@dataclass(frozen=True)
class Reading:
    """How `network` reads a module; see the schema ``Network`` for each key."""

    preprocess: Callable[[Any], Any] | None
    layer: tuple[str, ...] | None
    pooling: str | None
    heatmap_layer: str | None
    size: int | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    crop: float | None
    squash: bool | None


def network(
    module: nn.Module,
    preprocess: Callable[[Any], Any] | None = None,
    *,
    layer: str | Sequence[str] | None = None,
    pooling: str | None = None,
    heatmap_layer: str | None = None,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    crop: float | None = None,
    squash: bool | None = None,
    device: str | None = None,
) -> HookedEncoder:
    """Make an encoder of a torch module, for `explain`.

    Parameters
    ----------
    module : torch.nn.Module
        It is copied, so its mode and its gradients stay as they are.
    preprocess : callable, optional
        From a PIL image to a tensor (3, size, size); several threads call it at once. Without it, a model of timm is read
        with its own preprocessing, and another one needs `size`, `mean` and `std`.
    layer : str or sequence of str, optional
        Dotted names of modules whose outputs are the features; by default the input of the classifier.
    pooling : {"mean", "max", "cls"}, optional
        How positions become one vector; by default the mean.
    heatmap_layer : str, optional
        The layer of the heatmaps, if it is not `layer`.
    size, mean, std : optional
        Side of the input in pixels, mean and standard deviation of the channels, for values from 0 to 1.
    crop : float, optional
        The part of the image that the network sees: side of the central square as a share of the shorter side. Give it if
        `preprocess` crops. The preprocessing of torchvision's weights is known.
    squash : bool, optional
        The network sees the whole image, scaled to a square.
    device : str, optional
        By default that of the module's weights.

    Raises
    ------
    UserError
        If the preprocessing is not known, or layer or pooling do not fit.
    """
    from falcon_dvc.models.encoders.hooked import HookedEncoder
    from falcon_dvc.models.encoders.networks import wrapped

    layers = (layer,) if isinstance(layer, str) else _as_tuple(layer)
    channels = {"mean": _as_tuple(mean), "std": _as_tuple(std)}
    reading = Reading(preprocess, layers, pooling, heatmap_layer, size, crop=crop, squash=squash, **channels)
    place = device or next((str(weights.device) for weights in module.parameters()), "cpu")
    return HookedEncoder(reading, place, "network", wrapped(module, reading, "network"))


def _as_tuple(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)


@dataclass(frozen=True)
class Activations:
    """Hold the activations of all images.

    Attributes
    ----------
    features : (images, features) float32 array
    maps : (images, features, height, width) float16 array, or None
        The maps that the features are pooled from.
    fields : (images, 4) integer array
        What the encoder sees of each image, in pixels: left, top, right, bottom.
    by_gradients : callable, or None
        From pictures and directions to heatmaps, if there are no maps.
    """

    features: np.ndarray
    maps: np.ndarray | None
    fields: Boxes
    by_gradients: Callable[[list, np.ndarray], Heatmaps] | None = None

    def heatmaps(self, source: ImageSource, rows: np.ndarray, members: sparse.csr_array) -> Heatmaps:
        """Compute one heatmap for each row, of the sum of its features in the image; zeros if nothing locates them."""
        if self.maps is not None:
            return group_heatmaps(self.maps, rows, members)
        if self.by_gradients is None:
            return np.zeros((len(rows), 1, 1), dtype=np.float32)
        batches = [slice(start, start + AT_ONCE) for start in range(0, len(rows), AT_ONCE)]
        heatmaps = [
            self.by_gradients(source.load_many(rows[batch].tolist()), members[batch].toarray())
            for batch in track(batches, "heatmaps", total=len(batches))
        ]
        return np.concatenate(heatmaps)


def activations_of(
    encoder: Any, source: ImageSource, settings: ExtractActivations, basis: Any | None = None
) -> Activations:
    """Compute the activations of all images, or check given ones; express them in a basis if one is given.

    Raises
    ------
    UserError
        If the encoder is of another kind, or the arrays do not fit the images or hold NaN.
    """
    if isinstance(encoder, np.ndarray):
        encoder = (encoder, None)
    given = isinstance(encoder, tuple)
    if given:
        found = _given(encoder, source, basis)
    else:
        found = _computed(_in_basis(_as_encoder(encoder), source, settings, basis), source, settings)
    if not np.isfinite(found.features).all():
        image = int(np.flatnonzero(~np.isfinite(found.features).all(axis=1))[0])
        raise UserError(f"encoder: its features hold NaN or infinite values (image {image}); check the weights")
    return found


def _in_basis(encoder: Any, source: ImageSource, settings: ExtractActivations, basis: Any | None) -> Any:
    """Return the encoder in a basis.

    Raises
    ------
    UserError
        If the encoder takes none.
    """
    if basis is None:
        return encoder
    if not hasattr(encoder, "in_basis"):
        raise UserError(
            f"basis: a {type(encoder).__name__} takes none; give a torch module, the result of network, or arrays"
        )
    found = prepared_basis(basis, encoder.width, lambda: _passes(encoder, source, settings), len(source))
    return encoder.in_basis(found)


def _given(arrays: tuple, source: ImageSource, basis: Any | None = None) -> Activations:
    """Check features and maps that are given as arrays."""
    if len(arrays) != 2:
        raise UserError(f"encoder: a tuple of {len(arrays)}; {KINDS}")
    features, maps = (None if array is None else np.asarray(array) for array in arrays)
    if features is None or features.ndim != 2 or not features.size or features.dtype.kind not in "fiu":
        raise UserError(f"encoder: features are {_shown(features)}; give numbers (images, features)")
    if len(features) != len(source):
        raise UserError(f"encoder: {len(features)} rows of features, but {len(source)} images; give one row an image")
    if maps is not None and (maps.ndim != 4 or maps.shape[:2] != features.shape):
        raise UserError(f"encoder: maps are {_shown(maps)}; give (images, features, height, width)")
    features = features.astype(np.float32)
    if basis is not None:
        whole = [(features, maps)]
        found = prepared_basis(basis, features.shape[1], lambda: whole, len(source))
        features, maps = arrays_in_basis(features, maps, found)
    return Activations(features, _half(maps), _whole(source))


def _shown(array: np.ndarray | None) -> str:
    return "None" if array is None else f"{array.dtype} of shape {array.shape}"


def _half(maps: np.ndarray | None) -> np.ndarray | None:
    """Return maps in half precision, in which the stages store them."""
    largest = np.finfo(np.float16).max
    return None if maps is None else np.clip(maps, -largest, largest).astype(np.float16)


def _whole(source: ImageSource) -> Boxes:
    """Return the boxes of the whole images."""
    return np.array([(0, 0, *source.load(row).shape[1::-1]) for row in range(len(source))])


def _as_encoder(encoder: Any) -> Any:
    """Return an object of the protocol ``Encoder``."""
    if hasattr(encoder, "prepare") and hasattr(encoder, "forward"):
        return encoder
    if hasattr(encoder, "named_modules"):
        return network(encoder)
    raise UserError(f"encoder: a {type(encoder).__name__}; {KINDS}")


def _computed(encoder: Any, source: ImageSource, settings: ExtractActivations) -> Activations:
    """Run the encoder over the images, as the stage extract_activations does."""
    results = list(_passes(encoder, source, settings))
    features = np.concatenate([features for features, _ in results])
    maps = None if results[0][1] is None else np.concatenate([_half(maps) for _, maps in results])
    shapes = (source.load(row).shape for row in range(len(source)))
    fields = np.array([encoder.field(width, height) for height, width, _ in shapes])
    return Activations(features, maps, fields, getattr(encoder, "heatmaps", None))


def _passes(
    encoder: Any, source: ImageSource, settings: ExtractActivations
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yield features and maps of each batch."""
    from falcon_dvc.models.encoders.passes import activations

    starts = range(0, len(source), settings.batch_size)
    batches = [range(start, min(start + settings.batch_size, len(source))) for start in starts]
    passes = activations(source, [encoder], batches, settings.precision)
    for _, features, maps in track(passes, "activations", total=len(batches)):
        yield features, maps
