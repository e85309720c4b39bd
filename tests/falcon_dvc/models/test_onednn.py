"""Linear layers by oneDNN: the same function as torch's, only where it applies."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from falcon_dvc.models import onednn
from falcon_dvc.models.onednn import Convolution, Linear, by_onednn


@pytest.fixture(autouse=True, scope="module")
def on_a_processor_of_amd():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onednn, "amd_with_avx512", lambda: True)
        yield


def network(bias=True):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5, bias), nn.ReLU(), nn.Sequential(nn.Linear(5, 3))).eval()


@given(st.integers(0, 9), st.integers(1, 3), st.booleans(), st.booleans())
def test_it_computes_the_same(rows, positions, bias, transposed):
    plain, fast = network(bias), network(bias)
    by_onednn(fast)
    batch = torch.randn(6, rows, positions).permute(1, 2, 0) if transposed else torch.randn(rows, positions, 6)
    with torch.inference_mode():
        torch.testing.assert_close(fast(batch), plain(batch))


def test_only_plain_onednn_are_replaced():
    fast = nn.Sequential(nn.Linear(2, 2), nn.MultiheadAttention(4, 2), nn.Conv2d(2, 2, 1))
    by_onednn(fast)
    assert {name for name, module in fast.named_modules() if isinstance(module, Linear)} == {"0"}


def test_elsewhere_nothing_is_replaced(monkeypatch):
    monkeypatch.setattr(onednn, "amd_with_avx512", lambda: False)
    plain = network()
    by_onednn(plain)
    assert not any(isinstance(module, Linear) for module in plain.modules())


@pytest.mark.parametrize("case", ["gradients", "double precision", "half precision", "another device"])
def test_what_onednn_does_not_compute_is_computed_by_torch(case, monkeypatch):
    plain, fast = network(), network()
    by_onednn(fast)
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", lambda *_: pytest.fail("computed by oneDNN"))
    batch = torch.randn(4, 6)
    if case == "double precision":
        plain, fast, batch = plain.double(), fast.double(), batch.double()
    if case == "another device":
        plain, fast, batch = (value.to("meta") for value in (plain, fast, batch))
    with (
        torch.set_grad_enabled(case == "gradients"),
        torch.autocast("cpu", torch.bfloat16, enabled=case == "half precision"),
    ):
        found, expected = fast(batch), plain(batch)
    assert (found.dtype, found.device, found.requires_grad) == (expected.dtype, expected.device, expected.requires_grad)
    if case != "another device":
        torch.testing.assert_close(found, expected)


def test_onednn_is_used_where_it_applies():
    fast, used = network(), []
    by_onednn(fast)
    plain = torch.ops.mkldnn._linear_pointwise
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(torch.ops.mkldnn, "_linear_pointwise", lambda *given: used.append(1) or plain(*given))
        fast(torch.randn(2, 6))
        copy.deepcopy(fast)(torch.randn(2, 6))
    assert len(used) == 4


@given(st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 4]), st.booleans(), st.integers(0, 1), st.booleans())
def test_a_convolution_with_relu6_computes_the_same(kernel, stride, groups, relu6, padding, channels_last):
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 8, kernel, stride, groups=groups)
    batch = 4 * torch.randn(2, 4, 7, 6)
    if channels_last:
        batch = batch.to(memory_format=torch.channels_last)
    fused = Convolution(layer, (padding, padding), relu6)
    with torch.no_grad():
        expected = nn.functional.conv2d(batch, layer.weight, layer.bias, stride, padding, groups=groups)
        torch.testing.assert_close(fused(batch), expected.clamp(0, 6) if relu6 else expected)
    assert fused(batch).requires_grad
