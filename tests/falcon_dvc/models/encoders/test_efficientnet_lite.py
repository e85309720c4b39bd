"""EfficientNet-Lite in fewer passes over memory computes what the package's network computes; no package is needed."""

import copy

import pytest
import torch
from torch import nn

from falcon_dvc.models.encoders.efficientnet_lite import FewPasses


class Padded(nn.Conv2d):
    """A convolution that pads as TensorFlow's "same" does: by more on the right where the total is odd."""

    def __init__(self, inputs, outputs, kernel, stride, size, groups=1):
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        sides = (total // 2, total - total // 2)
        self.static_padding = nn.ZeroPad2d((*sides, *sides)) if total else nn.Identity()

    def forward(self, batch):
        padded = self.static_padding(batch)
        return nn.functional.conv2d(padded, self.weight, None, self.stride, 0, self.dilation, self.groups)


def normalised(channels):
    layer = nn.BatchNorm2d(channels)
    for values in (layer.weight, layer.bias, layer.running_mean):
        nn.init.normal_(values, 0.5)
    nn.init.uniform_(layer.running_var, 0.5, 2.0)
    return layer


class Block(nn.Module):
    def __init__(self, inputs, outputs, expand, kernel, stride, size):
        super().__init__()
        inner, self.adds = inputs * expand, stride == 1 and inputs == outputs
        if expand > 1:
            self._expand_conv, self._bn0 = Padded(inputs, inner, 1, 1, size), normalised(inner)
        self._depthwise_conv, self._bn1 = Padded(inner, inner, kernel, stride, size, inner), normalised(inner)
        self._project_conv, self._bn2 = Padded(inner, outputs, 1, 1, size), normalised(outputs)
        self._swish = nn.ReLU6()

    def forward(self, batch):
        inner = self._swish(self._bn0(self._expand_conv(batch))) if hasattr(self, "_expand_conv") else batch
        outputs = self._bn2(self._project_conv(self._swish(self._bn1(self._depthwise_conv(inner)))))
        return outputs + batch if self.adds else outputs


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self._conv_stem, self._bn0 = Padded(3, 4, 3, 2, 24), normalised(4)
        sizes = [(4, 4, 1, 3, 1, 12), (4, 6, 2, 3, 2, 12), (6, 6, 2, 5, 1, 6), (6, 8, 2, 5, 2, 6), (8, 8, 2, 3, 1, 3)]
        self._blocks = nn.ModuleList(Block(*size) for size in sizes)
        self._conv_head, self._bn1 = Padded(8, 10, 1, 1, 3), normalised(10)
        self._fc, self._swish = nn.Linear(10, 2), nn.ReLU6()

    def extract_features(self, batch):
        found = self._swish(self._bn0(self._conv_stem(batch)))
        for block in self._blocks:
            found = block(found)
        return self._swish(self._bn1(self._conv_head(found)))


@pytest.mark.parametrize("images", [1, 2, 5])
@pytest.mark.parametrize("gradients", [True, False])
def test_fewer_passes_compute_the_same(images, gradients):
    torch.manual_seed(0)
    plain = Network().eval()
    fast = FewPasses(copy.deepcopy(plain)).to(memory_format=torch.channels_last)
    batch = torch.randn(images, 3, 24, 24)
    with torch.set_grad_enabled(gradients):
        torch.testing.assert_close(fast.extract_features(batch), plain.extract_features(batch), atol=1e-4, rtol=1e-4)
    assert (len(fast.early), len(fast.late)) == (5, 2)  # the first halvings of the size are early
    assert torch.equal(fast._fc.weight, plain._fc.weight)
