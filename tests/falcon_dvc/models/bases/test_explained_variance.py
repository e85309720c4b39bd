"""The explained variance of sums over images is that of all vectors at once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from falcon_dvc.models.bases.explained_variance import explained_variance, sums_of


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), noise=st.floats(0, 2), shift=st.floats(-3, 3))
def test_sums_give_the_share_of_all_vectors(seed, noise, shift):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(6, 5, 3, generator=generator) + 2
    rebuilt = x + noise * torch.randn(x.shape, generator=generator) + shift
    sums = sum(sums_of(part, whole).sum(axis=0) for part, whole in zip(x.split(2), rebuilt.split(2), strict=True))
    vectors, rest = x.reshape(-1, 3), (x - rebuilt).reshape(-1, 3)
    variance = (vectors - vectors.mean(dim=0)).square().sum()
    for centred, left in ((False, rest), (True, rest - rest.mean(dim=0))):
        expected = float(1 - left.square().sum() / variance)
        assert explained_variance(sums, centred) == pytest.approx(expected, abs=1e-3)


def test_equal_vectors_have_no_variance_to_explain():
    x = torch.full((2, 3, 4), 1.5)
    assert explained_variance(sums_of(x, 0 * x).sum(axis=0), centred=False) is None
