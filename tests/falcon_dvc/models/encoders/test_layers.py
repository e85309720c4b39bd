"""Layers of networks: what their axes are, which one feeds the classifier, and gradients against finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from falcon_dvc.errors import UserError
from falcon_dvc.models.encoders.layers import (
    Layer,
    activation_and_gradient,
    class_activation,
    default_layer,
    entering_block,
    named,
    outputs_of,
    positions,
    traced,
)

IMAGE = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Maps(nn.Module):
    """Convolutions with an activation in place that is called twice, a pool, a classifier."""

    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6)
        self.conv2, self.pool, self.fc = nn.Conv2d(6, 5, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Linear(5, 4)

    def forward(self, image):
        maps = self.relu(self.conv2(self.relu(self.bn1(self.conv1(image)))))
        return self.fc(self.pool(maps).flatten(1))


class ChannelsLast(Maps):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(5)

    def forward(self, image):
        maps = self.norm(self.relu(self.conv2(self.relu(self.conv1(image)))).permute(0, 2, 3, 1))
        return self.fc(maps.mean(dim=(1, 2)))


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), nn.MultiheadAttention(width, 2, batch_first=True)
        self.fc1 = nn.Linear(width, width)

    def forward(self, tokens):
        normal = self.norm1(tokens)
        return tokens + self.fc1(self.attention(normal, normal, normal, need_weights=False)[0]).tanh()


class Tokens(nn.Module):
    """A transformer with `extra` tokens before the 16 of the image's patches."""

    def __init__(self, extra=1, width=8, depth=3):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.extra = nn.Parameter(torch.randn(1, extra, width))
        self.place = nn.Parameter(torch.randn(1, 16 + extra, width))
        self.drop, self.norm, self.head = nn.Identity(), nn.LayerNorm(width), nn.Linear(width, 4)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))

    def forward(self, image):
        patches = self.patches(image).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.extra.expand(len(image), -1, -1), patches], dim=1)
        return self.head(self.norm(self.blocks(self.drop(tokens + self.place)))[:, 0])


def built(kind, **options):
    torch.manual_seed(0)
    return kind(**options).eval().requires_grad_(False)


def test_shapes_and_layouts():
    layers = {layer.name: layer for layer in traced(built(Maps), IMAGE)}
    assert (layers["conv1"].shape, layers["conv1"].layout, layers["conv1"].grid) == ((6, 8, 8), "map", (8, 8))
    assert layers["relu"].calls == 2 and layers["relu"].shape == (5, 4, 4)
    assert layers["pool"].grid is None
    assert layers["fc"].layout == "vector" and layers["fc"].width == 4
    pooled = {layer.name: layer for layer in traced(torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1)), IMAGE)}["0"]
    assert (pooled.layout, pooled.width, pooled.grid) == ("vector", 3, None)
    last = {layer.name: layer for layer in traced(built(ChannelsLast), IMAGE)}["norm"]
    assert (last.layout, last.width, last.grid) == ("map, channels last", 5, (4, 4))


@pytest.mark.parametrize(("extra", "told"), [(0, None), (1, None), (5, None), (1, 1), (5, 5), (0, 1)])
def test_tokens_before_those_of_positions(extra, told):
    layers = {layer.name: layer for layer in traced(built(Tokens, extra=extra), IMAGE, told)}
    assert layers["norm"].prefix == extra
    assert layers["norm"].grid == (4, 4)


def test_nine_extra_tokens_make_the_larger_square_unless_told():
    """16 + 9 tokens are 5 x 5: only the network knows."""
    layers = {layer.name: layer for layer in traced(built(Tokens, extra=9), IMAGE, 9)}
    assert layers["norm"].grid == (4, 4)
    assert {layer.name: layer for layer in traced(built(Tokens, extra=9), IMAGE)}["norm"].grid == (5, 5)


@pytest.mark.parametrize(
    ("kind", "classifier", "expected"),
    [(Maps, ["fc"], "relu"), (ChannelsLast, ["fc"], "norm"), (Tokens, ["head"], "norm"), (Tokens, [], "norm")],
)
def test_the_default_feeds_the_classifier(kind, classifier, expected):
    assert default_layer(traced(built(kind), IMAGE), classifier).name == expected


def test_the_default_is_of_the_networks_width():
    layers = traced(built(Tokens), IMAGE)
    extra = Layer("pool.keys", "Linear", (17, 16), "tokens", 1, 999, 999, 1)
    assert default_layer([*layers, extra], [], 8).name == "norm"
    assert default_layer([*layers, extra], [], 7).name == "pool.keys"


def test_a_network_without_positions_has_no_default():
    network = nn.Sequential(nn.Flatten(), nn.Linear(768, 4))
    with pytest.raises(UserError, match=r"encoders\.x: the network has no layer with positions"):
        default_layer(traced(network, IMAGE), param="encoders.x")


def test_an_unknown_layer_is_answered_with_close_names():
    layers = traced(built(Tokens), IMAGE)
    with pytest.raises(UserError, match=r"encoders\.x\.layer: .*'block\.2'.*blocks\.2"):
        named(layers, "block.2", "encoders.x.layer")
    assert named(layers, "blocks.2", "").shape == (17, 8)


@pytest.mark.parametrize("name", ["patches", "drop", "blocks.0", "blocks.1.norm1", "blocks", "norm"])
def test_a_pass_ends_at_its_layer(name):
    network = built(Tokens)
    layer = named(traced(network, IMAGE), name, "")
    whole = []
    handle = network.get_submodule(name).register_forward_hook(lambda *hooked: whole.append(hooked[2]))
    network(IMAGE)
    handle.remove()
    ended = []
    network.head.register_forward_hook(lambda *_: ended.append(1))
    assert torch.equal(outputs_of(network, [layer], IMAGE)[0], whole[0])
    assert not ended
    assert not network.get_submodule(name)._forward_hooks


def test_the_last_of_several_calls_counts():
    network = built(Maps)
    (found,) = outputs_of(network, [named(traced(network, IMAGE), "relu", "")], IMAGE)
    assert found.shape == (1, 5, 4, 4) and (found >= 0).all()


@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 3), st.integers(2, 4))
def test_positions_lie_where_they_were_in_the_image(images, width, extra, side):
    maps = torch.rand(images, width, side, side)
    tokens = torch.cat([torch.rand(images, extra, width), maps.flatten(2).transpose(1, 2)], dim=1)
    for output, shape, layout, prefix in (
        (maps, (width, side, side), "map", 0),
        (maps.permute(0, 2, 3, 1), (side, side, width), "map, channels last", 0),
        (tokens, (side * side + extra, width), "tokens", extra),
    ):
        assert torch.equal(positions(output, Layer("", "", shape, layout, 1, 0, 0, prefix)), maps)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [("norm", "blocks.1"), ("blocks", "blocks.1"), ("blocks.2", "blocks.1"), ("blocks.2.norm1", "blocks.1"),
     ("blocks.1", "blocks.0"), ("blocks.0", "drop")],
)  # fmt: skip
def test_the_tokens_that_enter_a_block(layer, expected):
    layers = traced(built(Tokens), IMAGE)
    found = entering_block(layers, named(layers, layer, ""))
    assert found is not None and found.name == expected


def test_where_no_block_is_nothing_enters():
    layers = traced(built(Tokens), IMAGE)
    assert entering_block(layers, named(layers, "drop", "")) is None


def scores(network, layer, values, features, directions):
    """The score when a layer's output is replaced, one image at a time, without gradients."""
    call = []

    def replace(*_):
        call.append(1)
        return values if len(call) == layer.calls else None

    handle = network.get_submodule(layer.name).register_forward_hook(replace)
    found = float((features(IMAGE.double()) * directions).sum())
    handle.remove()
    return found


WHERE = {
    "maps": (Maps, "conv1"),
    "in place": (Maps, "bn1"),
    "a layer called twice": (Maps, "relu"),
    "channels last": (ChannelsLast, "norm"),
    "class token": (Tokens, "blocks.1"),
    "inside a block": (Tokens, "blocks.2.norm1"),
}


@pytest.mark.parametrize("name", WHERE)
def test_grad_cam_against_finite_differences(name):
    kind, at = WHERE[name]
    network = built(kind).double()
    layer = named(traced(network, IMAGE.double(), 1), at, "")
    directions = torch.randn(1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    features = network
    activation, gradient = activation_and_gradient(network, features, layer, IMAGE.double(), directions)
    (output,) = outputs_of(network, [layer], IMAGE.double())
    step, numeric = 1e-6, torch.zeros_like(output)
    for index in np.ndindex(*output.shape):
        change = torch.zeros_like(output)
        change[index] = step
        up, down = (scores(network, layer, output + sign * change, features, directions) for sign in (1, -1))
        numeric[index] = (up - down) / (2 * step)
    assert numeric.abs().max() > 1e-4
    torch.testing.assert_close(gradient, positions(numeric, layer), atol=1e-7, rtol=1e-5)
    weights = positions(numeric, layer).mean(dim=(2, 3))
    expected = torch.einsum("bc,bcij->bij", weights, positions(output, layer)).clamp(min=0)
    found = class_activation(activation, gradient).relu()
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-5)


def test_several_outputs_come_from_one_pass_and_nothing_overwrites_them():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(inplace=True), torch.nn.Conv2d(4, 2, 3))
    first, last = (layer for layer in traced(network, IMAGE) if layer.name in "02")
    with torch.inference_mode():
        # In any order: a pass ends when all are there.
        outputs = outputs_of(network, [last, first], IMAGE)
        assert torch.equal(outputs[1], network[0](IMAGE)) and torch.equal(outputs[0], network(IMAGE))
    assert outputs[1].min() < 0


def test_a_layer_beside_the_path_has_no_gradient():
    network = built(Tokens)
    layer = named(traced(network, IMAGE), "norm", "")
    features = lambda batch: outputs_of(network, [layer], batch)[0][:, 0]  # noqa: E731
    _, gradient = activation_and_gradient(network, features, layer, IMAGE, torch.ones(1, 8))
    assert not gradient.any()
    _, gradient = activation_and_gradient(
        network, lambda batch: network.patches(batch).mean(dim=(2, 3)), named(traced(network, IMAGE), "patches", ""),
        IMAGE, torch.ones(1, 8),
    )  # fmt: skip
    assert gradient.any()
