"""Networks of the user: what works in any precision and form, and a refusal that names the right fix."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

import falcon_dvc
from falcon_dvc.models.encoders.load import load_encoder
from falcon_dvc.params.schema import EncoderSpec
from tests.support.outcomes import assert_refused
from tests.support.tiny_models import pictures


def small(first=None, **given):
    """Two convolutions with their preprocessing."""
    torch.manual_seed(0)
    network = nn.Sequential(first or nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 6, 3, 2, 1))
    for key, value in {"size": 32, "mean": (0.5, 0.5, 0.5), "std": (0.3, 0.3, 0.3), **given}.items():
        setattr(network, key, value)
    return network


class Acting(nn.Module):
    """A network that does what it is told with the image."""

    size, mean, std = 32, 0.5, 0.3

    def __init__(self, act):
        super().__init__()
        self.body, self.act = small(), act

    def forward(self, image):
        return self.act(self, image)


def raising(error):
    def act(*_):
        raise error

    return Acting(act)


def half_of(network):
    network[0].half()
    return network


def filled(value, network=None):
    network = network or small()
    network[2].weight.data.fill_(value)
    return network


def of_48_pixels(network, image):
    if image.shape[2:] != (48, 48):
        raise ValueError("expected 48 x 48")
    return network.body(image)


def prepared(preprocess, network=None):
    return small(network, preprocess=preprocess)


def spec(**given):
    return TypeAdapter(EncoderSpec).validate_python({"kind": "python", "factory": "nets_of_a_test:build", **given})


@pytest.fixture
def load(monkeypatch):
    """From a factory to its encoder."""

    def of(factory, **given):
        monkeypatch.setitem(sys.modules, "nets_of_a_test", SimpleNamespace(build=factory))
        return load_encoder(spec(**given), param="encoders.x")

    return of


READ = {
    "half precision": lambda: small().half(),
    "bfloat16": lambda: small().bfloat16(),
    "double precision": lambda: small().double(),
    "two precisions": lambda: half_of(small()),
    "in training": lambda: small().train(),
    "in DataParallel": lambda: nn.DataParallel(small()),
    "a tuple": lambda: Acting(lambda self, image: (self.body(image), image)),
    "a mapping": lambda: Acting(lambda self, image: {"logits": self.body(image)}),
    "nothing": lambda: Acting(lambda self, image: (self.body(image), None)[1]),
    "a size of two numbers": lambda: small(size=(32, 32)),
    "one mean": lambda: small(mean=0.5, std=[0.3]),
    "a tensor as mean": lambda: small(mean=torch.full((3, 1, 1), 0.5)),
    "half precision from preprocess": lambda: prepared(
        lambda image: torch.from_numpy((np.array(image.resize((32, 32))) / 255 - 0.5) / 0.3).permute(2, 0, 1).half()),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_any_precision_and_form_gives_the_features_of_float32(name, load):
    (features, maps), (expected, _) = (load(build).activations(pictures(2)) for build in (READ[name], small))
    assert features.dtype == np.float32 and maps.shape == (2, 6, 8, 8)
    np.testing.assert_allclose(features, expected, atol=0.01)


def test_a_network_of_one_channel_sees_grey(load):
    build = lambda: small(nn.Conv2d(1, 8, 3, 2, 1))  # noqa: E731
    coloured = [np.full((40, 50, 3), colour, dtype=np.uint8) for colour in ((255, 0, 0), (0, 0, 255))]
    grey = [np.full((40, 50, 3), level, dtype=np.uint8) for level in (76, 29)]
    features, expected = (load(build).activations(images)[0] for images in (coloured, grey))
    np.testing.assert_array_equal(features, expected)
    assert_refused(
        "takes grey images, but its mean is .*three equal numbers", lambda: load(build, mean=[0.4, 0.5, 0.6])
    )


def test_a_notebooks_network_keeps_its_precision():
    network = small().half()
    features, _ = falcon_dvc.network(network).activations(pictures(1))
    assert features.dtype == np.float32 and network[0].weight.dtype == torch.float16


REFUSED = {
    "four channels": (lambda: small(nn.Conv2d(4, 8, 3)), r"takes 4 channels, not images of 3 .*wrap it in a module"),
    "volumes": (lambda: small(nn.Conv3d(3, 8, 3)), r"takes volumes or clips \(Conv3d\).*wrap it"),
    "sequences": (lambda: small(nn.Conv1d(3, 8, 3)), r"takes sequences \(Conv1d\).*wrap it"),
    "another size": (lambda: Acting(of_48_pixels), r"of 32 pixels, but of 48 .*set encoders\.x\.size to 48"),
    "no forward": (lambda: small(nn.Module()), r"fails on images \(1, 3, 32, 32\) .*correct its forward"),
    "an attribute": (lambda: raising(AttributeError("no z")), r"fails on images .*no z\); correct its forward"),
    "a key": (lambda: raising(KeyError("z")), r"fails on images .*'z'\); correct its forward"),
    "no reason": (lambda: raising(NotImplementedError()), r"\(NotImplementedError\); correct its forward"),
    "another device": (
        lambda: raising(RuntimeError("Found no NVIDIA driver")), r"does not run on cpu .*leave \.cuda\(\)"),
    "NaN": (lambda: filled(torch.nan), r"tensor '2\.weight' holds NaN .*load or train the weights again"),
    "beyond float32": (lambda: filled(1e300, small().double()), r"'2\.weight' holds values beyond float32"),
    "no values": (lambda: small().to("meta"), r"'0\.weight' holds no values \(device meta\); load"),
    "no shape": (lambda: small(nn.LazyConv2d(8, 3)), r"'0\.weight' has no shape yet; run"),
    "TorchScript": (lambda: torch.jit.script(nn.Sequential(nn.ReLU())), "TorchScript .*return the Python module"),
    "a rectangle": (lambda: small(size=(32, 48)), r"size is \(32, 48\); give one number of pixels"),
    "a size in words": (lambda: small(size="32"), r"size is '32'; give one number of pixels"),
    "two means": (lambda: small(mean=(0.5, 0.5)), r"mean is \(0\.5, 0\.5\); give one number, or one for each"),
    "no deviation": (lambda: small(std=0), r"std is 0; give one number"),
    "no positions": (lambda: small(nn.Conv2d(3, 8, 32)), "no layer with positions.*set a larger size"),
    "preprocess: nothing": (lambda: prepared(lambda image: None), "the network's preprocess gives a NoneType"),
    "preprocess: a picture": (lambda: prepared(lambda image: image), "gives a Image; it must give a tensor"),
    "preprocess: a batch": (lambda: prepared(lambda image: torch.ones(1, 3, 8, 8)), r"gives \(1, 3, 8, 8\)"),
    "preprocess: bytes": (lambda: prepared(lambda image: torch.ones(3, 8, 8).byte()), "of torch.uint8; it must"),
    "preprocess: failing": (lambda: prepared(lambda image: 1 / 0), "preprocess failed .*division by zero"),
    "preprocess: any size": (
        lambda: prepared(lambda image: torch.ones(3, image.height, image.height)), "gives different sizes"),
    "arguments": (lambda width: small(), r"missing 1 required .*name a function without arguments"),
    "the class": (lambda: Acting, r"returned the class Acting itself"),
    "weights": (lambda: small().state_dict(), r"returned weights \(a state_dict\), and no network"),
    "a pair": (lambda: (small(), 3), "returned a tuple; it must return a torch.nn.Module"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_work_is_told_with_its_fix(name, load):
    build, words = REFUSED[name]
    assert_refused(rf"^encoders\.x: .*{words}", lambda: load(build))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("Attempting to deserialize object on a CUDA device"), "build it on the CPU, with map_location"),
        (ModuleNotFoundError("No module named 'nets_of_a_test'", name="nets_of_a_test"), "put the module into"),
        (ModuleNotFoundError("No module named 'other'", name="other"), "No module named 'other'.*correct it"),
        (SystemExit(3), "SystemExit: 3.*correct it"),
    ],
)
def test_a_factory_that_fails_is_told_with_its_fix(error, words, load):
    def build():
        raise error

    assert_refused(rf"^encoders\.x: factory nets_of_a_test:build failed \(.*{words}", lambda: load(build))
