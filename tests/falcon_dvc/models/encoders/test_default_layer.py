"""The default layer feeds the classifier: also in small images, with several branches, and with any kind of pool."""

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn
from torch.nn import functional

from falcon_dvc.models.encoders.classifiers import linear_classifier
from falcon_dvc.models.encoders.default_layer import choose_layer
from falcon_dvc.models.encoders.layers import traced
from falcon_dvc.models.encoders.load import load_encoder
from falcon_dvc.params.schema import EncoderSpec
from tests.support.tiny_models import pictures


def conv(inside, outside, stride=2):
    return nn.Sequential(nn.Conv2d(inside, outside, 3, stride, 1), nn.ReLU())


class Residual(nn.Module):
    def __init__(self, inside, outside):
        super().__init__()
        self.main, self.short = conv(inside, outside), nn.Conv2d(inside, outside, 1, 2)

    def forward(self, maps):
        return functional.relu(self.main(maps) + self.short(maps))


class Small(nn.Module):
    """A ResNet for small pictures, with a pool that is no module, and a classifier of an unusual name."""

    def __init__(self, pool=None):
        super().__init__()
        self.layer1, self.layer2, self.layer3 = Residual(3, 4), Residual(4, 8), Residual(8, 8)
        self.pool, self.linear = pool, nn.Linear(8, 5)

    def forward(self, image):
        maps = self.layer3(self.layer2(self.layer1(image)))
        return self.linear((self.pool(maps) if self.pool else maps.mean((2, 3))).flatten(1))


class Adaptive(nn.Module):
    """Maps that are repeated for a fixed grid, as in VGG."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(conv(3, 4, 1), nn.MaxPool2d(2), conv(4, 6, 1), nn.MaxPool2d(2))
        self.avgpool = nn.AdaptiveAvgPool2d(3)
        self.classifier = nn.Sequential(nn.Linear(54, 7), nn.ReLU(), nn.Linear(7, 5))

    def forward(self, image):
        return self.classifier(self.avgpool(self.features(image)).flatten(1))


class Dense(nn.Module):
    """Blocks with an average between them, as in DenseNet; as wide before it as at the end."""

    def __init__(self):
        super().__init__()
        self.block1, self.between, self.block2 = conv(3, 6), nn.AvgPool2d(2), conv(6, 6, 1)
        self.norm, self.fc = nn.BatchNorm2d(6), nn.Linear(6, 5)

    def forward(self, image):
        return self.fc(self.norm(self.block2(self.between(self.block1(image)))).mean((2, 3)))


class Concatenated(nn.Module):
    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, maps):
        return torch.cat([branch(maps) for branch in self.branches], dim=1)


def inception():
    ends = Concatenated(nn.Sequential(conv(4, 4, 1), conv(4, 3)), conv(4, 2), nn.MaxPool2d(3, 2, 1))
    return nn.Sequential(conv(3, 4), ends, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(9, 5))


class Towers(nn.Module):
    """Two branches that meet in the classifier only; the table of a position bias depends on no image."""

    def __init__(self, apart):
        super().__init__()
        self.stem, self.bias = conv(3, 4), nn.Linear(2, 4)
        self.left, self.right, self.apart = conv(4, 6), conv(4, 6, 1), apart
        self.heads = nn.ModuleList([nn.Linear(6, 5), nn.Linear(6, 5)])
        self.fc = nn.Linear(12, 5)

    def forward(self, image):
        maps = self.stem(image) + self.bias(torch.ones(1, 3, 3, 2)).mean()
        left, right = self.left(maps).mean((2, 3)), self.right(maps).mean((2, 3))
        if self.apart:
            return self.heads[0](left) + self.heads[1](right)
        return self.fc(torch.cat([left, right], dim=1))


class AttentionPool(nn.Module):
    """Positions become one vector by attention, which has weights."""

    def __init__(self):
        super().__init__()
        self.patches, self.norm, self.query = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), nn.Parameter(torch.ones(1, 1, 8))
        self.keys, self.mix, self.head = nn.Linear(8, 16), nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, image):
        keys, values = self.keys(self.norm(self.patches(image).flatten(2).transpose(1, 2))).chunk(2, dim=2)
        return self.head(self.mix((self.query @ keys.transpose(1, 2)).softmax(2) @ values)[:, 0])


class WithoutGradients(Small):
    @torch.no_grad()
    def forward(self, image):
        return super().forward(image)


CASES = {  # network, size, classifiers, width, layer, and a word of the remark
    "maps": (Small, 32, (), None, "layer3", None),
    "one position": (Small, 8, (), None, "layer3", "has one position"),
    "one position, not as wide": (Small, 8, ("linear",), 8, "layer3", "has one position"),
    "an average as a module": (lambda: Small(nn.AvgPool2d(4)), 32, (), None, "layer3", None),
    "an average to one position": (lambda: Small(nn.AdaptiveAvgPool2d(1)), 8, (), None, "layer3", "has one position"),
    "repeated maps": (Adaptive, 8, ("classifier.2",), None, "features", None),
    "repeated positions": (Adaptive, 4, ("classifier.2",), None, "features", "has one position"),
    "an average between blocks": (Dense, 4, ("fc",), None, "norm", "has one position"),
    "the same with maps": (Dense, 16, ("fc",), None, "norm", None),
    "branches that end together": (inception, 4, ("4",), None, "1", "has one position"),
    "the same branches with maps": (inception, 16, ("4",), None, "1", None),
    "branches that meet in the classifier": (lambda: Towers(False), 16, ("fc",), None, "right", "several branches"),
    "a classifier for each branch": (
        lambda: Towers(True), 16, ("heads.0", "heads.1"), None, "right", "several branches"),
    "attention before the classifier": (AttentionPool, 16, ("head",), 8, "norm", None),
    "no gradients": (WithoutGradients, 8, (), None, "layer2", None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_layer_that_feeds_the_classifier(name):
    build, size, classifiers, width, layer, word = CASES[name]
    torch.manual_seed(0)
    network = build().eval().requires_grad_(False)
    image = torch.rand(1, 3, size, size)
    choice = choose_layer(network, traced(network, image), image, classifiers, width)
    assert choice.layer.name == layer
    assert (choice.remark == "") if word is None else (word in choice.remark)


RELEASED = [
    ("torchvision", "resnet18", "layer4", 512),
    ("torchvision", "squeezenet1_1", "features", 512),
    ("torchvision", "shufflenet_v2_x0_5", "conv5", 1024),
    ("torchvision", "mobilenet_v3_small", "features", 576),
    ("timm", "test_resnet", "layer4", 96),
    ("timm", "test_efficientnet", "bn2", 256),
    ("timm", "test_byobnet", "stages", 256),
]


@pytest.mark.parametrize(("kind", "name", "layer", "width"), RELEASED)
def test_small_pictures_have_the_features_of_large_ones(kind, name, layer, width):
    encoder = load_encoder(spec(kind, name))
    assert (encoder.description["layers"][0]["layer"], encoder.width) == (layer, width)
    assert encoder.description["remarks"][0].startswith(f"at 32 pixels '{layer}' has one position")
    features, maps = encoder.activations(pictures(2))
    heatmaps = encoder.heatmaps(pictures(2), torch.eye(2, width).numpy())
    assert features.shape == (2, width) and maps is None and heatmaps.shape[1] > 1


def test_the_classifier_of_small_pictures_reads_the_default_layer():
    found = linear_classifier(spec("torchvision", "resnet18", classes="imagenet"))
    assert found is not None and found.weights.shape == (1000, 512)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_one_position_is_its_own_mean_and_maximum(pooling):
    same, pooled = (load_encoder(spec("timm", "test_resnet", **given)) for given in ({}, {"pooling": pooling}))
    assert (pooled.activations(pictures(2))[0] == same.activations(pictures(2))[0]).all()


def spec(kind, name, **given):
    return TypeAdapter(EncoderSpec).validate_python(
        {"kind": kind, "name": name, "weights": "random", "size": 32, **given}
    )
