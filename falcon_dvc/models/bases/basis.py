"""A basis of the activations of a layer: from a vector of the layer to features, and back to its reconstruction.

A feature is ``act((norm(x) - p) W + b)`` of the vector x at one position. Its reconstruction is ``norm^-1(f D + o)``.

References
----------
TopK: Gao et al., Scaling and evaluating sparse autoencoders, 2024. BatchTopK: Bussmann et al. 2024. JumpReLU and gated
autoencoders: Rajamanoharan et al. 2024. FISTA: Beck and Teboulle 2009.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from falcon_dvc.models.bases.explained_variance import sums_of

Vectors = Float[Tensor, "*positions channels"]
Codes = Float[Tensor, "*positions features"]
Sums = Float64[np.ndarray, "images numbers"] | None
ACTIVATIONS = ("none", "relu", "topk", "topk_signed", "jumprelu", "gated", "nnls")
NORMALISATIONS = ("none", "layer_norm", "unit_norm")
EPSILON = 1e-5  # of the layer normalisation
STEPS = 200  # of the non-negative least squares; the codes of NMF then differ from scikit-learn's by less than 1e-4


@dataclass(frozen=True)
class Basis:
    """A basis with n features of a layer with d channels.

    Attributes
    ----------
    weight : (d, n)
        The directions, one a column. For `nnls` it is not used.
    bias : (n,)
        Added before the activation.
    decoder : (n, d)
        What each feature adds to the reconstruction.
    offset : (d,)
        What the reconstruction begins with.
    before : (d,), optional
        What is subtracted from the input.
    threshold : (n,), optional
        Of `jumprelu`: values up to the threshold become 0.
    gate, magnitude : (n,), optional
        Of `gated`: bias of the gate, and factor of the weight.
    activation : str
        One of `ACTIVATIONS`.
    k : int
        Features that are not 0 at a position, for `topk`.
    normalisation : str
        Of each input vector: one of `NORMALISATIONS`. `unit_norm` gives it the norm sqrt(d).
    both_signs : bool
        Feature j is the positive part of direction j, and feature n + j its negative part.
    centred : bool
        The reconstruction does not know the mean of the activations, so the explained variance is that about the mean.
    description : dict
        Where it comes from, as JSON can hold it: format, file, trained_on, remarks.
    """

    weight: Tensor
    bias: Tensor
    decoder: Tensor
    offset: Tensor
    before: Tensor | None = None
    threshold: Tensor | None = None
    gate: Tensor | None = None
    magnitude: Tensor | None = None
    activation: str = "none"
    k: int = 0
    normalisation: str = "none"
    both_signs: bool = False
    centred: bool = False
    description: dict[str, Any] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """Number of channels of the layer."""
        return self.decoder.shape[1]

    @property
    def width(self) -> int:
        """Number of features."""
        return self.decoder.shape[0] * (2 if self.both_signs else 1)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name, without those that are not used."""
        values = {name: getattr(self, name) for name in TENSORS}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def settings(self) -> dict[str, Any]:
        """The other attributes."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in TENSORS}

    def to(self, device: str) -> Basis:
        """Return the basis on a device."""
        moved: dict[str, Any] = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        return replace(self, **moved)

    def features(
        self, vectors: Float[Tensor, "images positions channels"], measured: bool = False
    ) -> tuple[Float[Tensor, "images positions features"], Sums]:
        """Return the features at each position and, if `measured`, what the explained variance of each image needs."""
        codes, rebuilt = encode_and_decode(vectors, self, measured)
        return codes, sums_of(vectors.float(), rebuilt) if measured else None

    def maps(
        self, maps: Float[Tensor, "images channels rows columns"], measured: bool = False
    ) -> tuple[Float[Tensor, "images features rows columns"], Sums]:
        """Return the maps of the features, as `features`."""
        codes, sums = self.features(maps.flatten(2).transpose(1, 2), measured)
        return codes.transpose(1, 2).unflatten(2, maps.shape[2:]), sums


TENSORS = ("weight", "bias", "decoder", "offset", "before", "threshold", "gate", "magnitude")


def encode(vectors: Vectors, basis: Basis) -> Codes:
    """Return the features of each vector.

    Parameters
    ----------
    vectors : (..., channels)
        Activations of the layer, one vector a position.
    basis : Basis
        On the same device.
    """
    return encode_and_decode(vectors, basis, decoded=False)[0]


def encode_and_decode(vectors: Vectors, basis: Basis, decoded: bool = True) -> tuple[Codes, Vectors]:
    """Return the features of each vector, and its reconstruction; the vector itself if it shall not be `decoded`."""
    with torch.autocast(vectors.device.type, enabled=False):
        scaled, undo = normalised(vectors.float(), basis.normalisation)
        features = _signed(_activated(scaled, basis), basis)
        return features, undo(decode(features, basis)) if decoded else vectors


def decode(features: Codes, basis: Basis) -> Vectors:
    """Return the reconstruction of the normalised vectors."""
    if basis.both_signs:
        positive, negative = features.chunk(2, dim=-1)
        features = positive - negative
    return features @ basis.decoder + basis.offset


def normalised(vectors: Vectors, how: str) -> tuple[Vectors, Callable[[Vectors], Vectors]]:
    """Normalise each vector; return also the function that undoes it for a reconstruction.

    Parameters
    ----------
    vectors : (..., channels)
        Activations.
    how : str
        none; layer_norm: mean 0 and standard deviation 1; unit_norm: norm sqrt(channels).
    """
    if how == "layer_norm":
        mean = vectors.mean(dim=-1, keepdim=True)
        spread = vectors.std(dim=-1, keepdim=True)
        return (vectors - mean) / (spread + EPSILON), lambda rebuilt: rebuilt * spread + mean
    if how == "unit_norm":
        factor = vectors.shape[-1] ** 0.5 / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        return vectors * factor, lambda rebuilt: rebuilt / factor
    return vectors, lambda rebuilt: rebuilt


def pre_activations(vectors: Vectors, basis: Basis) -> Codes:
    """Return what the activation function gets from normalised vectors, if it is not `nnls` or `gated`."""
    return _projected(vectors, basis) + basis.bias


def _projected(vectors: Vectors, basis: Basis) -> Codes:
    return (vectors if basis.before is None else vectors - basis.before) @ basis.weight


def _activated(vectors: Vectors, basis: Basis) -> Codes:
    if basis.activation == "nnls":
        centred = vectors if basis.before is None else vectors - basis.before
        return non_negative_codes(centred - basis.offset, basis.decoder)
    projected = _projected(vectors, basis)
    if basis.activation == "gated":
        assert basis.gate is not None and basis.magnitude is not None, "a gated basis has both"
        return (projected + basis.gate > 0) * (projected * basis.magnitude + basis.bias).relu()
    return _of_linear(projected + basis.bias, basis)


def _of_linear(values: Codes, basis: Basis) -> Codes:
    if basis.activation == "relu":
        return values.relu()
    if basis.activation == "jumprelu":
        assert basis.threshold is not None, "a basis with jumprelu has a threshold"
        return values.relu() * (values > basis.threshold)
    if basis.activation in ("topk", "topk_signed"):
        kept = largest(values, basis.k)
        return kept.relu() if basis.activation == "topk" else kept
    return values


def _signed(features: Codes, basis: Basis) -> Codes:
    return torch.cat([features.relu(), (-features).relu()], dim=-1) if basis.both_signs else features


def largest(values: Codes, k: int) -> Codes:
    """Keep the k largest values of each vector; the others become 0."""
    found = values.topk(min(k, values.shape[-1]), dim=-1)
    return torch.zeros_like(values).scatter(-1, found.indices, found.values)


def non_negative_codes(vectors: Vectors, components: Float[Tensor, "features channels"]) -> Codes:
    """Return the codes ``h >= 0`` that minimise ``|x - h H|^2`` for each vector x, by FISTA.

    Parameters
    ----------
    vectors : (..., channels)
        What is decomposed.
    components : (features, channels)
        H.
    """
    gram, target = components @ components.T, vectors @ components.T
    step = 1 / torch.linalg.matrix_norm(gram, ord=2).clamp_min(1e-12)
    codes = ahead = torch.zeros_like(target)
    momentum = 1.0
    for _ in range(STEPS):
        moved = (ahead + step * (target - ahead @ gram)).relu()
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = moved + (momentum - 1) / following * (moved - codes)
        codes, momentum = moved, following
    return codes
