"""An encoder to explain that reads one or several layers of any network: features, and maps or Grad-CAM for heatmaps.

Features are the mean or the maximum over the positions of a layer, its class token, or its vector. If they are pooled from
all positions of one layer, that layer's maps give heatmaps in closed form (`falcon_dvc.crops.heatmaps.heatmaps_of`):

- mean: ``f_j = 1/P sum_p A_jp``. The gradient of ``sum_j d_j f_j`` with respect to ``A_jp`` is ``d_j / P`` at every
  position. Its mean over positions, Grad-CAM's weight, is the same.
- max: ``f_j = max_p A_jp``. The gradient is ``d_j`` at the largest position and 0 at the others. Its mean over positions
  is ``d_j / P`` again. (Several largest positions share the gradient; its sum is the same.)

Both are ``ReLU(sum_j d_j A_j)`` up to the factor 1/P. The box and the shown heatmap do not depend on this factor.
"""

import hashlib
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import Box
from falcon_dvc.models.encoders.default_layer import Choice, choose_layer, maps_behind
from falcon_dvc.models.encoders.layers import Layer, default_layer, entering_block, named, traced
from falcon_dvc.models.encoders.missing import read_by
from falcon_dvc.models.encoders.networks import Network, build_network
from falcon_dvc.models.encoders.own_networks import refusal
from falcon_dvc.models.encoders.readouts import Readout, Readouts, SparsePass, Sums

if TYPE_CHECKING:
    from falcon_dvc.models.bases.basis import Basis

Picture = UInt8[np.ndarray, "height width 3"]
BATCH = 64  # images that are classified together
LARGEST_HALF = float(np.finfo(np.float16).max)


class HookedEncoder:
    """Features of one layer of a network, or of several layers side by side.

    Parameters
    ----------
    spec
        The entry in the param ``encoders``: see the schema ``Network``.
    device : str
        Where it runs, for instance "cpu" or "cuda".
    param : str
        The name of the entry, for errors: ``encoders.NAME``.
    network : Network, optional
        The network, if it is in memory. The spec then gives ``layer``, ``pooling`` and ``heatmap_layer`` only.
    basis : Basis, optional
        What the activations of the layer are expressed in; by default its channels.

    Raises
    ------
    UserError
        If network, weights, layer or pooling are unknown or do not fit each other.

    Attributes
    ----------
    width : int
        Number of features.
    remarks : list of str
        What there is to say about the default layer.
    """

    def __init__(
        self,
        spec: Any,
        device: str = "cpu",
        param: str = "encoders",
        network: Network | None = None,
        basis: "Basis | None" = None,
    ) -> None:
        self._network, self.device = network or build_network(spec, param), device
        self._basis = basis.to(device) if basis else None
        self._network.module.to(device)
        layers = layers_of(self._network, device, param)
        names = spec.layer or ()
        chosen = [Choice(named(layers, name, f"{param}.layer")) for name in names]
        chosen = chosen or [default(layers, self._network, device, param)]
        self.remarks = [choice.remark for choice in chosen if choice.remark]
        self._readouts = Readouts([self._readout(layers, choice.layer, spec, param) for choice in chosen], param)
        self.width = self._readouts.width
        self._refuse_random(param)

    def in_basis(self, basis: "Basis", param: str = "basis") -> "HookedEncoder":
        """Return an encoder of the same network whose features are those of a basis.

        Raises
        ------
        UserError
            If the features come from several layers.
        """
        if len(self._readouts) > 1:
            raise UserError(f"{param}: belongs to one layer; explain each layer alone")
        changed = copy(self)
        changed._basis = basis.to(self.device)
        changed._readouts = Readouts([replace(readout, basis=changed._basis) for readout in self._readouts], param)
        changed.width = changed._readouts.width
        return changed

    @property
    def description(self) -> dict[str, Any]:
        """Layers, pooling, input and checkpoint, as JSON can hold them."""
        preparation = self._network.preparation
        return {
            "layers": [
                {
                    "layer": readout.layer.name,
                    "first_feature": part.start,
                    "features": part.stop - part.start,
                    "shape": "x".join(map(str, readout.layer.shape)),
                    "pooling": readout.pooling,
                    "heatmap_layer": (readout.heatmap_layer or readout.layer).name,
                }
                for readout, part in zip(self._readouts, self._readouts.parts(), strict=True)
            ],
            "size": preparation.size,
            "mean": list(preparation.mean),
            "std": list(preparation.std),
            "checkpoint": self._network.loaded,
            "classifier": self._classifier_report(),
            "remarks": [*self._network.remarks, *self.remarks],
            **({"basis": self._basis.description} if self._basis else {}),
        }

    def described_preparation(self) -> str:
        """Describe the preprocessing of an image in words."""
        preparation = self._network.preparation
        if preparation.transform is not None:
            return "by the network's own preprocess"
        field = (
            f"{'the whole image' if preparation.squash else 'the central square'}, {preparation.share:.4g} of its side"
        )
        scaled = f"at {preparation.size} x {preparation.size} ({preparation.resample.name})"
        return f"{field}, {scaled}, mean {preparation.mean}, std {preparation.std}"

    def field(self, width: int, height: int) -> Box:
        """Return the box of an image of this size that the network sees, in its pixels."""
        return self._network.preparation.field(width, height)

    def activations(
        self, images: Sequence[Picture]
    ) -> tuple[Float32[np.ndarray, "images features"], Float32[np.ndarray, "images features rows columns"] | None]:
        """Return features, and the maps that they are pooled from; None if heatmaps need gradients (see `heatmaps`)."""
        return self.forward(self.prepare(images))

    def prepare(self, images: Sequence[Picture]) -> Float[Tensor, "images 3 size size"]:
        """Make the network's input from one or more images, on the CPU."""
        return self._network.preparation.batch(images)

    def forward(
        self, batch: Float[Tensor, "images 3 size size"]
    ) -> tuple[Float32[np.ndarray, "images features"], Float32[np.ndarray, "images features rows columns"] | None]:
        """Return features and maps, as `activations`, of prepared images."""
        return self.forward_measured(batch, measured=False)[:2]

    def forward_measured(
        self, batch: Float[Tensor, "images 3 size size"], measured: bool = True
    ) -> tuple[
        Float32[np.ndarray, "images features"], Float32[np.ndarray, "images features rows columns"] | None, Sums
    ]:
        """Return also what the explained variance of the basis needs; None without a basis."""
        with torch.inference_mode():
            features, maps, sums = self._readouts.read_measured(
                self._network.module, batch.to(self.device, non_blocking=True), measured
            )
            if maps is not None:
                # Maps are stored in half precision, where larger values would become infinite.
                maps = maps.clamp(-LARGEST_HALF, LARGEST_HALF).cpu()
            return features.cpu().numpy(), None if maps is None else maps.numpy(), sums

    def forward_sparse(self, batch: Float[Tensor, "images 3 size size"]) -> SparsePass:
        """Return what `forward_measured` returns of an encoder with a basis, as the values that are not 0."""
        with torch.inference_mode():
            return self._readouts.read_sparse(self._network.module, batch.to(self.device, non_blocking=True))

    def heatmaps(
        self, images: Sequence[Picture], directions: Float[np.ndarray, "images features"]
    ) -> Float32[np.ndarray, "images rows columns"]:
        """Return Grad-CAM of a direction of the features in each image, by gradients.

        Parameters
        ----------
        images : sequence of (height, width, 3) uint8 arrays
            One or more, of any size.
        directions : array
            One for each image. The direction of a group is 1 for its members and 0 for other features.
        """
        target = torch.from_numpy(np.ascontiguousarray(directions, dtype=np.float32)).to(self.device)
        batch = self.prepare(images).to(self.device)
        return self._readouts.grad_cam(self._network.module, batch, target).float().cpu().numpy()

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the outputs of the classifier, or ``("imagenet",)``; None if not known."""
        return self._network.classes

    def class_probabilities(self, images: Sequence[Picture]) -> Float32[np.ndarray, "images classes"]:
        """Return the softmax of the network's logits; `outputs` tells whether it has a classifier."""
        return self.probabilities(self.prepare(images))

    def probabilities(self, batch: Float[Tensor, "images 3 size size"]) -> Float32[np.ndarray, "images classes"]:
        """Return the class probabilities of prepared images."""
        with torch.inference_mode():
            logits = [self._network.module(chunk.to(self.device)).float() for chunk in batch.split(BATCH)]
            return torch.cat(logits).softmax(dim=1).cpu().numpy()

    def outputs(self) -> int | None:
        """Return the number of classes; None without a classifier, or if the checkpoint does not hold its weights."""
        if self._classifier_is_random():
            return None
        with torch.inference_mode():
            logits = self._network.module(_probe(self._network, self.device))
        return logits.shape[1] if isinstance(logits, Tensor) and logits.ndim == 2 else None

    def weights_digest(self) -> str:
        """Return the SHA-256 of names, types, shapes and values of the network's tensors."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self._network.module.state_dict().items()):
            values = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
            digest.update(values.reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def _classifier_report(self) -> dict[str, Any] | None:
        """Describe the network's own classifier: outputs, digest, and why it is not used; None if it was not trained."""
        outputs, misfit = self._classifier_outputs()
        if self._network.untrained or outputs is None:
            return None
        layer = None if misfit else self.final_layer()
        if layer is None:
            reason = misfit or "it is not linear in the features of this layer and pooling"
            return {"outputs": outputs, "unused": reason, "sha256": None}
        digest = hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in layer)).hexdigest()
        return {"outputs": outputs, "unused": None, "sha256": digest}

    def _classifier_outputs(self) -> tuple[int | None, str]:
        """Return the number of outputs of the classifier, and why its weights in the checkpoint do not fit."""
        for name, shape in (self._network.loaded or {}).get("classifier_misfits", {}).items():
            return shape[0], f"the file's {name} ({' x '.join(map(str, shape))}) does not fit the network"
        names, modules = self._network.classifiers, dict(self._network.module.named_modules())
        weight = getattr(modules.get(names[0]), "weight", None) if len(names) == 1 else None
        if not isinstance(weight, Tensor) or self._classifier_is_random():
            return None, ""
        return len(weight), ""

    def _classifier_is_random(self) -> bool:
        """Return whether the checkpoint lacks weights of the classifier, or between the features and the classifier."""
        loaded = self._network.loaded
        return loaded is not None and (not loaded["classifier_loaded"] or bool(loaded["missing"]))

    def final_layer(self) -> tuple[Float32[np.ndarray, "classes features"], Float32[np.ndarray, " classes"]] | None:
        """Return weights and bias of the classifier; None if it is random or not linear in these features."""
        network = self._network
        modules = dict(network.module.named_modules())
        linear = modules.get(network.classifiers[0]) if len(network.classifiers) == 1 else None
        if len(self._readouts) > 1 or self._classifier_is_random():
            return None
        if not isinstance(linear, torch.nn.Linear) or linear.in_features != self.width:
            return None
        batch = _probe(network, self.device)
        with torch.inference_mode():
            logits = network.module(batch)
            if not isinstance(logits, Tensor) or logits.shape != (1, linear.out_features):
                return None
            # This detects another layer, another pooling, or a normalisation in between.
            features, _ = self._readouts.read(network.module, batch)
            same = bool((linear(features) - logits).abs().max() < 1e-3 * logits.std())
        bias = torch.zeros(linear.out_features) if linear.bias is None else linear.bias
        return (linear.weight.float().cpu().numpy(), bias.float().cpu().numpy()) if same else None

    def embedding_map(self) -> tuple[Float32[np.ndarray, "features dim"], Float32[np.ndarray, " dim"]] | None:
        """Return the linear map and the constant that lead from the features to the embedding that the network returns.

        Return None if the embedding is not linear in the features of this layer and pooling.
        """
        module, batch = self._network.module, _probe(self._network, self.device)
        with torch.inference_mode():
            embedding = module(batch)
            features, _ = self._readouts.read(module, batch)
            if not isinstance(embedding, Tensor) or embedding.ndim != 2:
                return None
            for weight, bias in _projections(module, self.width, embedding.shape[1]):
                if bool((features @ weight + bias - embedding).abs().max() < 1e-3 * embedding.std()):
                    return weight.float().cpu().numpy(), bias.float().cpu().numpy()
        return None

    def _refuse_random(self, param: str) -> None:
        """Refuse features that depend on tensors which the checkpoint lacks, and which are therefore random numbers."""
        loaded = self._network.loaded or {"missing": []}
        probe = _probe(self._network, self.device)
        features = lambda: self._readouts.read(self._network.module, probe)[0]  # noqa: E731
        random = read_by(self._network.module, loaded["missing"], features)
        if random:
            more = f" and {len(random) - 3} more" if len(random) > 3 else ""
            raise UserError(
                f"{loaded['file']}: lacks {', '.join(random[:3])}{more}, which the features of {param} depend on; use a "
                "complete file, or name the architecture of this file, or an earlier layer"
            )

    def _readout(self, layers: Sequence[Layer], layer: Layer, spec: Any, param: str) -> Readout:
        """Choose the pooling of one layer, and the layer of its heatmaps."""
        readout = Readout(layer, _pooling(layer, spec.pooling, self._network.class_token, f"{param}.pooling"))
        if self._basis is not None:
            refuse_misfit(self._basis, layer.width, param)
            readout = replace(readout, basis=self._basis)
        heatmap_layer = self._heatmap_layer(layers, readout, spec.heatmap_layer, f"{param}.heatmap_layer")
        return replace(readout, heatmap_layer=heatmap_layer)

    def _heatmap_layer(self, layers: Sequence[Layer], readout: Readout, name: str | None, param: str) -> Layer | None:
        """Return the layer of the heatmaps; None if it is the layer of the features."""
        if name is not None:
            return self._checked_heatmap_layer(named(layers, name, param), readout, param)
        if readout.pooling in ("mean", "max"):
            return None
        for candidate in _before(layers, readout.layer, self._network, self.device):
            if self._reaches(candidate, readout):
                return candidate
        raise UserError(
            f"{param}: the features at '{readout.layer.name}' depend on no layer with positions; name another layer"
        )

    def _checked_heatmap_layer(self, layer: Layer, readout: Readout, param: str) -> Layer | None:
        with_own_maps = ("mean", "max") if readout.basis is None else ("mean", "max", "cls")
        if layer == readout.layer and readout.pooling in with_own_maps and layer.grid:
            return None
        if not layer.grid or layer.last > readout.layer.last or not self._reaches(layer, readout):
            raise UserError(
                f"{param}: the features at '{readout.layer.name}' do not depend on positions of '{layer.name}'; name a layer "
                "with positions that comes before (for a class token: one that enters a block)"
            )
        return layer

    def _reaches(self, layer: Layer, readout: Readout) -> bool:
        """Return whether the features depend on the positions of a layer."""
        # Without the basis, whose sparse features may all be 0 on a picture of noise.
        readout = replace(readout, basis=None)
        direction = torch.ones(1, readout.layer.width, device=self.device)
        # With equal signs, the sum of layer-normalised features would be constant, and its gradient zero.
        direction[:, ::2] = -1
        probe = _probe(self._network, self.device)
        _, gradient = readout.gradients(self._network.module, probe, direction, layer)
        return bool(gradient.abs().amax() > 0)


def refuse_misfit(basis: "Basis", channels: int, param: str) -> None:
    """Refuse a stored basis that was prepared for another layer.

    Raises
    ------
    UserError
        If it reads another number of channels.
    """
    if basis.channels != channels:
        raise UserError(
            f"{param}.basis: was prepared for {basis.channels} channels, and the layer has {channels}; run `dvc repro` again"
        )


def _probe(network: Network, device: str, param: str = "encoders") -> Float[Tensor, "1 channels size size"]:
    """Return a picture of noise as the network's input."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    try:
        # Pictures of two sizes show whether a preprocessing of the user gives one size.
        return network.preparation.batch([noise, noise[:48]])[:1].to(device)
    except UserError as error:
        raise UserError(f"{param}: {error}") from error


def _projections(module: torch.nn.Module, width: int, dim: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the maps that may lead from features to an embedding: none, a matrix ``proj``, and linear layers."""
    like = next(module.parameters())
    zero = torch.zeros(dim, device=like.device)
    if width == dim:
        yield torch.eye(dim, device=like.device), zero
    proj = getattr(module, "proj", None)
    if isinstance(proj, Tensor) and proj.shape == (width, dim):
        yield proj.float(), zero
    for linear in reversed(list(module.modules())):
        if isinstance(linear, torch.nn.Linear) and (linear.in_features, linear.out_features) == (width, dim):
            yield linear.weight.T.float(), zero if linear.bias is None else linear.bias.float()


def layers_of(network: Network, device: str = "cpu", param: str = "encoders") -> list[Layer]:
    """List the layers of a network by running it on one picture.

    Raises
    ------
    UserError
        If the network does not accept a picture of its input size.
    """
    image = _probe(network, device, param)
    if image.shape[2] != image.shape[3]:
        raise UserError(f"{param}: the network's preprocess gives {tuple(image.shape[1:])}; it must give squares")
    try:
        return traced(network.module, image, network.prefix_tokens)
    except Exception as error:  # the user's code can raise any exception
        raise refusal(network.module, image, error, param) from error


def default(layers: Sequence[Layer], network: Network, device: str = "cpu", param: str = "encoders") -> Choice:
    """Choose the layer that feeds the classifier of a network."""
    image = _probe(network, device)
    return choose_layer(network.module, layers, image, network.classifiers, network.width, param)


def _before(layers: Sequence[Layer], layer: Layer, network: Network, device: str) -> Iterator[Layer]:
    """Yield candidates for the heatmaps of features that have no maps of their own, the best first."""
    earlier = [other for other in layers if other.grid and other.last < layer.last]
    if layer.layout == "vector" and earlier:
        behind = maps_behind(network.module, layers, _probe(network, device), layer, network.width)
        layer = behind or default_layer(earlier, network.classifiers, network.width)
        yield layer
    entering = entering_block(layers, layer)
    yield from [entering] if entering else []
    yield from reversed(earlier)


def _pooling(layer: Layer, requested: str | None, class_token: bool | None, param: str) -> str:
    """Return the pooling of a layer: `requested`, else "mean"; "none" for a vector."""
    if layer.layout == "vector":
        of_one_position = len(layer.shape) > 1 and requested in ("mean", "max")
        if requested is not None and not of_one_position:
            raise UserError(f"{param}: the output of '{layer.name}' is a vector; leave pooling out")
        return "none"
    if requested == "cls" and (layer.layout != "tokens" or not layer.prefix or class_token is False):
        raise UserError(f"{param}: the output of '{layer.name}' holds no class token; use mean or max")
    if requested != "cls" and not layer.grid:
        raise UserError(
            f"{param}: the output of '{layer.name}' ({layer.shape}) has no square grid of positions; use cls"
        )
    return requested or "mean"
