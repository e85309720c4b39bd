"""The features of a basis as the few values that are not 0: no array of (positions, features) is larger than a block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from falcon_dvc.activations.sparse_maps import SparseMaps, sparse_rows
from falcon_dvc.models.bases.basis import Basis, Sums, encode_and_decode, normalised, pre_activations
from falcon_dvc.models.bases.explained_variance import sums_of

VALUES_AT_ONCE = 2**23  # of (positions, features): 32 MB in float32


@dataclass(frozen=True)
class Codes:
    """The values of a block of vectors that are not 0.

    Attributes
    ----------
    vector, feature : (values,)
        Where each value is.
    values : (values,)
        The features.
    rebuilt : (vectors, channels)
        The reconstruction of each vector.
    """

    vector: Int[Tensor, " values"]
    feature: Int[Tensor, " values"]
    values: Float[Tensor, " values"]
    rebuilt: Float[Tensor, "vectors channels"]


def sparse_maps(maps: Float[Tensor, "images channels rows columns"], basis: Basis) -> tuple[SparseMaps, Sums]:
    """Return the maps of the features, and what the explained variance of each image needs.

    Parameters
    ----------
    maps : (images, channels, rows, columns)
        Activations of the layer.
    basis : Basis
        On the same device.
    """
    values, sums = sparse_vectors(maps.flatten(2).transpose(1, 2), basis)
    return SparseMaps(values, basis.width, (maps.shape[2], maps.shape[3])), sums


def sparse_vectors(vectors: Float[Tensor, "images positions channels"], basis: Basis) -> tuple[sparse.csr_array, Sums]:
    """Return the features at the positions, (images, features * positions), and what the explained variance needs."""
    images, positions, channels = vectors.shape
    flat = vectors.reshape(-1, channels).float()
    block = max(VALUES_AT_ONCE // basis.width, 1)
    starts = range(0, len(flat), block)
    codes = [sparse_codes(flat[start : start + block], basis) for start in starts]
    vector = np.concatenate([one.vector.cpu().numpy() + start for one, start in zip(codes, starts, strict=True)])
    feature, values = (torch.cat([getattr(one, name) for one in codes]).cpu().numpy() for name in ("feature", "values"))
    image, position = np.divmod(vector, positions)
    rows = sparse_rows(image, feature * positions + position, values, (images, basis.width * positions))
    return rows, sums_of(vectors.float(), torch.cat([one.rebuilt for one in codes]).view(vectors.shape))


def sparse_codes(vectors: Float[Tensor, "vectors channels"], basis: Basis) -> Codes:
    """Return the features of some vectors that are not 0, and the reconstructions."""
    with torch.autocast(vectors.device.type, enabled=False):
        if basis.activation == "topk" and not basis.both_signs:
            return _of_largest(vectors, basis)
        features, rebuilt = encode_and_decode(vectors, basis)
        vector, feature = features.nonzero(as_tuple=True)
        return Codes(vector, feature, features[vector, feature], rebuilt)


def _of_largest(vectors: Float[Tensor, "vectors channels"], basis: Basis) -> Codes:
    scaled, undo = normalised(vectors, basis.normalisation)
    found = pre_activations(scaled, basis).topk(min(basis.k, basis.width), dim=1)
    places, values = found.indices, found.values.relu()
    summed = torch.nn.functional.embedding_bag(places, basis.decoder, mode="sum", per_sample_weights=values)
    vector, column = values.nonzero(as_tuple=True)
    return Codes(vector, places[vector, column], values[vector, column], undo(summed + basis.offset))
