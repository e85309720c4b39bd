"""Features of a basis and their reconstruction equal what plain numpy computes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from falcon_dvc.models.bases.basis import Basis, encode, encode_and_decode, non_negative_codes
from falcon_dvc.models.bases.explained_variance import explained_variance


def linear(seed, channels=4, features=6, **more):
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "weight": (channels, features),
        "bias": (features,),
        "decoder": (features, channels),
        "offset": (channels,),
    }
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return Basis(**tensors | more), torch.randn(7, 9, channels, generator=generator)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), both=st.booleans())
def test_signed_features_are_linear_and_divide_into_two_parts(seed, both):
    basis, x = linear(seed, both_signs=both)
    expected = (x @ basis.weight + basis.bias).numpy()
    codes, rebuilt = encode_and_decode(x, basis)
    halves = np.concatenate([np.maximum(expected, 0), np.maximum(-expected, 0)], axis=-1) if both else expected
    assert codes.shape[-1] == basis.width == (12 if both else 6)
    np.testing.assert_allclose(codes, halves, atol=1e-5)
    np.testing.assert_allclose(rebuilt, expected @ basis.decoder.numpy() + basis.offset.numpy(), atol=1e-4)


def test_maps_are_the_features_at_each_position():
    basis, _ = linear(0, activation="relu")
    maps = torch.randn(3, 4, 2, 5)
    found, sums = basis.maps(maps, measured=True)
    assert found.shape == (3, 6, 2, 5)
    torch.testing.assert_close(found[1, :, 1, 3], encode(maps[1, :, 1, 3], basis))
    x = maps.permute(0, 2, 3, 1).reshape(-1, 4)
    rest = x - encode_and_decode(x, basis)[1]
    expected = 1 - rest.square().sum() / (x - x.mean(dim=0)).square().sum()
    assert explained_variance(sums.sum(axis=0), centred=False) == pytest.approx(float(expected), rel=1e-4)


def test_features_are_computed_in_full_precision_under_autocast():
    basis, x = linear(1)
    expected = encode(x, basis)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(encode(x.bfloat16().float(), basis), encode(x.bfloat16().float(), basis))
        torch.testing.assert_close(encode(x, basis), expected)


@pytest.mark.parametrize("seed", range(3))
def test_non_negative_codes_are_those_of_least_squares(seed):
    generator = np.random.default_rng(seed)
    components, x = generator.random((3, 8)), generator.random((5, 8))
    expected = [nnls(components.T, row)[0] for row in x]
    found = non_negative_codes(torch.from_numpy(x).float(), torch.from_numpy(components).float())
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_gradient_reaches_the_input_of_every_activation():
    for activation, more in {"topk": {"k": 2}, "relu": {}, "jumprelu": {"threshold": torch.zeros(6)}}.items():
        basis, x = linear(2, activation=activation, **more)
        x.requires_grad_()
        encode(x, basis).sum().backward()
        assert x.grad.abs().sum() > 0
