"""Passes: batches made ready ahead give what batches made in turn give, in bounded memory; errors surface; no thread stays."""

import itertools
import threading
import time
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from falcon_dvc.compute import prefetch
from falcon_dvc.compute.prefetch import AHEAD, collated
from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import UnreadableImageError
from falcon_dvc.images.source import DecodedImages
from falcon_dvc.models.encoders import passes
from falcon_dvc.models.encoders.load import load_encoder
from falcon_dvc.models.encoders.passes import activations
from falcon_dvc.models.scenes.checkpoints import save_encoder
from falcon_dvc.models.scenes.small_resnet import SmallResNet
from falcon_dvc.params.schema import EncoderSpec
from tests.support.slow_pictures import COUNT, Pictures, batches_of


class Network:
    """An encoder that gives rows of pictures, and what it computes in; `log` says when it did so."""

    width = 1

    def __init__(self, device="cpu", wait=0.0):
        self.device, self.wait, self.log = device, wait, []

    def prepare(self, images):
        return torch.tensor([[float(image[0, 0, 0])] for image in images])

    def forward(self, batch):
        time.sleep(self.wait)
        self.log.append(len(batch))
        return batch.numpy(), (batch @ torch.ones(1, 1)).dtype


def reached(condition):
    """Wait until something holds, on however busy a machine; say whether it does."""
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
    return condition()


def threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")}


@pytest.fixture(autouse=True)
def none_stays():
    before = threads()
    yield
    assert threads() <= before


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_replicas_take_batches_in_turn_and_results_come_in_order(replicas):
    # The first is the slowest: the others have to wait for it.
    networks = [Network(wait=0.01 if number == 0 else 0.0) for number in range(replicas)]
    found = list(activations(Pictures(), networks, batches_of(2)))
    assert np.concatenate([features for _, features, _ in found]).ravel().tolist() == list(range(COUNT))
    dealt = [[len(rows) for rows in batches_of(2)][number::replicas] for number in range(replicas)]
    assert [network.log for network in networks] == dealt


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Prepare batches ahead, as for a network that leaves the processor's cores alone."""
    monkeypatch.setattr(passes, "ahead_of", lambda device: AHEAD)


def test_on_a_cpu_nothing_is_decoded_ahead():
    source = Pictures(12)
    with closing(activations(source, [Network()], batches_of(4, 12))) as found:
        for asked in (1, 2):
            next(found)
            time.sleep(0.05)
            assert len(source.loaded) == 4 * asked


def test_no_more_is_decoded_than_a_few_batches(as_on_a_gpu):
    source = Pictures(40)
    with closing(activations(source, [Network()], batches_of(4, 40))) as found:
        for asked in (1, 2):
            next(found)
            assert reached(lambda: len(source.loaded) >= 4 * (asked + AHEAD))  # noqa: B023
            time.sleep(0.05)
            assert len(source.loaded) == 4 * (asked + AHEAD)


def test_nothing_is_decoded_after_closing():
    source = Pictures(4000)
    found = activations(source, [Network(), Network()], batches_of(100, 4000))
    next(found)
    found.close()
    before = len(source.loaded)
    time.sleep(0.05)
    assert len(source.loaded) == before < 1000


def test_pictures_are_decoded_while_a_gpu_computes(as_on_a_gpu):
    source, network = Pictures(6), Network()

    def forward(batch):
        asked = int(batch[0, 0]) + 1
        assert reached(lambda: len(source.loaded) >= min(asked + AHEAD, 6))
        return batch.numpy(), None

    network.forward = forward
    assert len(list(activations(source, [network], batches_of(1, 6)))) == 6


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_picture_that_has_gone_is_the_users_error_after_the_batches_before_it(replicas):
    found = activations(Pictures(bad=[5, 7]), [Network()] * replicas, batches_of(2))
    seen = []
    with pytest.raises(UserError, match="image 5 has gone"):
        seen.extend(rows.stop for rows, *_ in found)
    # Those that other replicas still worked on are lost with it.
    assert seen == [2, 4][: 2 if replicas == 1 else len(seen)]


def test_an_error_of_the_network_ends_the_threads():
    network = Network()
    network.forward = lambda batch: 1 / 0
    with pytest.raises(ZeroDivisionError):
        list(activations(Pictures(), [network, network], batches_of(2)))


def test_no_batches_no_results():
    assert list(activations(Pictures(), [Network()], [])) == []


@pytest.mark.parametrize("replicas", [1, 2])
def test_precision_is_that_of_the_thread_that_computes(replicas):
    for precision in ("float32", "bfloat16", "float16"):
        found = list(activations(Pictures(), [Network() for _ in range(replicas)], batches_of(2), precision))
        assert {maps for *_, maps in found} == {getattr(torch, precision)}
    assert not torch.is_autocast_enabled("cpu")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "encoder.safetensors"
    torch.manual_seed(0)
    save_encoder(path, SmallResNet(stem=4, widths=(8, 12), heads={}), {})
    return load_encoder(SimpleNamespace(kind="scenes", checkpoint=str(path)))


class Noise(Pictures):
    def load(self, row):
        return np.random.default_rng(row).integers(0, 256, (20 + row, 30, 3), dtype=np.uint8)


def test_a_pass_gives_to_the_bit_what_batches_in_turn_give(encoder):
    source = Noise()
    for size, (workers, ahead) in itertools.product((3, 64), ((1, 0), (4, 3))):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(prefetch, "AHEAD", ahead)
            patch.setattr(prefetch.prefetched, "__defaults__", (ahead, workers))
            found = list(activations(source, [encoder, encoder], batches_of(size)))
        for rows, features, maps in found:
            expected = encoder.activations([source.load(row) for row in rows])
            np.testing.assert_array_equal(features, expected[0])
            np.testing.assert_array_equal(maps, expected[1])
            np.testing.assert_array_equal(features, maps.mean(axis=(2, 3)))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_gives_nearly_the_same_as_float32(encoder, precision):
    [(_, half, maps)] = activations(Noise(), [encoder], [range(4)], precision)
    [(_, full, _)] = activations(Noise(), [encoder], [range(4)])
    assert half.dtype == maps.dtype == np.float32
    assert 0 < np.abs(half - full).max() < 0.05 * np.abs(full).max()


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite"])
def test_networks_of_convolutions_are_given_channels_last(name):
    """Measured on two cores: 16 to 32 % faster; the order of the weights made no difference then, neither to the speed nor to a bit."""
    if name == "efficientnet_lite":
        pytest.importorskip("efficientnet_lite_pytorch")
        network = load_encoder(SimpleNamespace(kind=name, variant=0))
    else:
        entry = {"kind": "torchvision", "name": name, "weights": "random", "size": 64}
        network = load_encoder(TypeAdapter(EncoderSpec).validate_python(entry))
    batch = collated([(row, network.prepare([Noise().load(row)])) for row in range(3)])
    assert batch.is_contiguous(memory_format=torch.channels_last) and not batch.is_contiguous()


def test_a_source_that_changed_is_told(tmp_path):
    def gone(place):
        raise UnreadableImageError("not a regular file")

    with pytest.raises(UserError, match="changed since it was listed"):
        list(activations(DecodedImages(["a"], gone), [Network()], [range(1)]))
