"""The values that are not 0 are those of the dense features, for every activation function."""

import numpy as np
import pytest
import torch

from falcon_dvc.models.bases import sparse_codes as module
from falcon_dvc.models.bases.basis import ACTIVATIONS, Basis
from falcon_dvc.models.bases.sparse_codes import sparse_maps

CHANNELS, FEATURES = 4, 10


def basis_of(activation, **settings):
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (CHANNELS, FEATURES), "bias": FEATURES, "decoder": (FEATURES, CHANNELS), "offset": CHANNELS}
    shapes |= {"before": CHANNELS, "threshold": FEATURES, "gate": FEATURES, "magnitude": FEATURES}
    tensors = {name: torch.rand(shape, generator=generator) - 0.4 for name, shape in shapes.items()}
    return Basis(**tensors, activation=activation, k=3, **settings)


def maps():
    return torch.randn(3, CHANNELS, 2, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("settings", [{}, {"normalisation": "layer_norm"}, {"both_signs": True}], ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_sparse_maps_are_the_dense_maps(activation, settings, monkeypatch):
    basis, blocks = basis_of(activation, **settings), []
    monkeypatch.setattr(module, "VALUES_AT_ONCE", 7 * basis.width)
    encoded = module.sparse_codes
    monkeypatch.setattr(module, "sparse_codes", lambda block, basis: blocks.append(len(block)) or encoded(block, basis))
    dense, expected = basis.maps(maps(), measured=True)
    found, sums = sparse_maps(maps(), basis)
    assert max(blocks) == 7, "no more positions are dense at once"
    assert found.shape == dense.shape
    iterated = activation == "nnls"  # it ends after so many steps, before the last digits are settled
    np.testing.assert_allclose(found.dense(), dense.numpy(), atol=1e-3 if iterated else 1e-5)
    np.testing.assert_allclose(sums, expected, rtol=1e-2 if iterated else 1e-4, atol=1e-3)
