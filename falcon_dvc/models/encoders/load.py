"""Load the encoders to explain. Each computes activation maps of images of any size, with its own preprocessing."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Float, Float32, UInt8

from falcon_dvc.activations.sparse_maps import pooled_features
from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import Box, resized
from falcon_dvc.models.encoders.classifiers import NETWORKS
from falcon_dvc.placeholders import existing

if TYPE_CHECKING:
    from torch import Tensor

    from falcon_dvc.models.bases.basis import Basis
    from falcon_dvc.models.encoders.readouts import SparsePass

Picture = UInt8[np.ndarray, "height width 3"]
Features = Float32[np.ndarray, "images features"]
Maps = Float32[np.ndarray, "images features rows columns"]
Sums = np.ndarray | None  # of the explained variance, see falcon_dvc.models.bases.explained_variance


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
    basis : Basis, optional
        What each position of the maps is expressed in; by default their channels.

    Raises
    ------
    UserError
        If the checkpoint is missing or does not fit.
    """

    size = 64

    def __init__(
        self, checkpoint: str, device: str = "cpu", random_seed: int | None = None, basis: "Basis | None" = None
    ) -> None:
        from falcon_dvc.models.encoders.random_weights import drawn_again
        from falcon_dvc.models.scenes.checkpoints import load_encoder_checkpoint

        network = load_encoder_checkpoint(checkpoint)
        self._network = (network if random_seed is None else drawn_again(network, random_seed)).to(device)
        self.device = device
        self._basis = basis.to(device) if basis else None
        self.width = basis.width if basis else self._network.width

    def activations(self, images: Sequence[Picture]) -> tuple[Features, Maps | None]:
        """Return the last activation maps and their mean over positions."""
        return self.forward(self.prepare(images))

    def forward(self, batch: "Tensor") -> tuple[Features, Maps | None]:
        """Return features and maps, as `activations`, of prepared images."""
        return self.forward_measured(batch, measured=False)[:2]

    def forward_measured(self, batch: "Tensor", measured: bool = True) -> tuple[Features, Maps | None, Sums]:
        """Return also what the explained variance of the basis needs; None without a basis."""
        maps, sums = self._maps(batch, measured)
        return maps.mean(axis=(2, 3)), maps, sums

    def forward_sparse(self, batch: "Tensor") -> "SparsePass":
        """Return what `forward_measured` returns of an encoder with a basis, as the values that are not 0."""
        from falcon_dvc.models.bases.sparse_codes import sparse_maps

        assert self._basis is not None, "only an encoder with a basis"
        maps, sums = sparse_maps(self._channels(batch), self._basis)
        return pooled_features(maps, "mean"), maps, sums

    def activation_maps(self, images: Sequence[Picture]) -> Maps:
        """Return the last activation maps; their mean over positions is the feature vector."""
        return self._maps(self.prepare(images))[0]

    def prepare(self, images: Sequence[Picture]) -> "Tensor":
        """Scale images to the input size; uint8 (images, rows, columns, 3)."""
        import torch

        return torch.from_numpy(np.stack([resized(image, self.size) for image in images]))

    def _maps(self, batch: "Tensor", measured: bool = False) -> tuple[Maps, Sums]:
        maps, sums = self._channels(batch), None
        if self._basis is not None:
            maps, sums = self._basis.maps(maps, measured)
        return maps.cpu().numpy(), sums

    def _channels(self, batch: "Tensor") -> "Tensor":
        import torch

        with torch.inference_mode():
            return self._network.activation_maps(batch.to(self.device, non_blocking=True)).float()

    def field(self, width: int, height: int) -> Box:
        """Return the whole image."""
        return 0, 0, width, height


def load_encoder(spec: Any, device: str = "cpu", param: str = "encoders", basis_file: Path | None = None) -> Encoder:
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
    basis_file : Path, optional
        The file of the stage `fit_basis`, for an entry with a basis. Without it, the features are the channels.

    Raises
    ------
    UserError
        If the kind is unknown, the checkpoint is missing or does not fit, or packages are missing.
    """
    if spec.kind in NETWORKS:
        return _hooked(spec, device, param, basis_file)
    seed, basis = _random_seed(spec), _basis(spec, basis_file)
    if spec.kind == "scenes":
        return ScenesEncoder(str(existing(spec.checkpoint, f"{param}.checkpoint")), device, seed, basis)
    if spec.kind == "efficientnet_lite":
        from falcon_dvc.models.encoders.efficientnet_lite import EfficientNetLite

        return EfficientNetLite(spec.variant, device, param, seed, basis)
    raise UserError(f"{param}: kind {spec.kind!r} is unknown; use scenes, efficientnet_lite, {', '.join(NETWORKS)}")


def _hooked(spec: Any, device: str, param: str, basis_file: Path | None) -> Any:
    from falcon_dvc.models.encoders.hooked import HookedEncoder

    return HookedEncoder(spec, device, param, basis=_basis(spec, basis_file))


def _basis(spec: Any, path: Path | None) -> "Basis | None":
    """Read the basis of an entry that asks for one."""
    if path is None or getattr(spec, "basis", None) is None:
        return None
    from falcon_dvc.models.bases.stored import read_stored_basis

    return read_stored_basis(path)


def _random_seed(spec: Any) -> int | None:
    """Return the seed of random weights; None for trained ones."""
    return spec.seed if getattr(spec, "weights", None) == "random" else None


def load_located(
    spec: Any, device: str = "cpu", param: str = "encoders", basis_file: Path | None = None
) -> LocatedByGradients:
    """Load an encoder that gives heatmaps by gradients; see `load_encoder`.

    Raises
    ------
    UserError
        As `load_encoder`, or if the encoder's heatmaps are computed from its maps.
    """
    if spec.kind not in NETWORKS:
        raise UserError(f"{param}: heatmaps of kind {spec.kind!r} need maps.npy; run `dvc repro` to make it")
    return _hooked(spec, device, param, basis_file)
