"""Passes: batches made ready ahead give what batches made in turn give, in bounded memory; errors surface; no thread stays."""

import itertools
import threading
import time
from contextlib import closing
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from pydantic import TypeAdapter

from falcon_dvc.compute import prefetch
from falcon_dvc.compute.device import computing_in
from falcon_dvc.compute.prefetch import AHEAD, collated, prefetched, round_robin
from falcon_dvc.crops import embedding
from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import UnreadableImageError
from falcon_dvc.images.packed import PackedImages
from falcon_dvc.images.source import DecodedImages
from falcon_dvc.models.encoders.load import load_encoder
from falcon_dvc.models.encoders.passes import activations
from falcon_dvc.models.scenes.checkpoints import save_encoder
from falcon_dvc.models.scenes.small_resnet import SmallResNet
from falcon_dvc.params.schema import EncoderSpec

COUNT = 11


class Pictures:
    """A source of pictures whose first byte is their row; it counts what is decoded, and is slow in turn."""

    def __init__(self, count=COUNT, bad=()):
        self.count, self.bad, self.loaded = count, bad, []

    def __len__(self):
        return self.count

    def load(self, row):
        self.loaded.append(row)
        time.sleep(0.002 * (row % 3))
        if row in self.bad:
            raise UserError(f"data.images: image {row} has gone")
        return np.full((2 + row % 3, 2, 3), row % 256, dtype=np.uint8)

    def in_storage_order(self, rows):
        return list(rows)[::-1]


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


def batches_of(size, count=COUNT):
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


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


@given(size=some.integers(1, 12), ahead=some.integers(0, 5), workers=some.integers(1, 4), replicas=some.integers(1, 3))
def test_rows_come_in_order_whatever_runs_beside(size, ahead, workers, replicas):
    jobs = lambda rows: [partial(lambda row: (row, torch.tensor([row])), row) for row in reversed(rows)]  # noqa: E731
    networks = [lambda batch: batch.tolist()] * replicas
    found = list(round_robin(prefetched(batches_of(size), jobs, collated, ahead, workers), networks))
    assert [list(rows) for rows, _ in found] == [rows for _, rows in found]
    assert [row for _, rows in found for row in rows] == list(range(COUNT))


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_replicas_take_batches_in_turn_and_results_come_in_order(replicas):
    # The first is the slowest: the others have to wait for it.
    networks = [Network(wait=0.01 if number == 0 else 0.0) for number in range(replicas)]
    found = list(activations(Pictures(), networks, batches_of(2)))
    assert np.concatenate([features for _, features, _ in found]).ravel().tolist() == list(range(COUNT))
    dealt = [[len(rows) for rows in batches_of(2)][number::replicas] for number in range(replicas)]
    assert [network.log for network in networks] == dealt


def test_no_more_is_decoded_than_a_few_batches():
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


def test_pictures_are_decoded_while_the_network_computes():
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


def test_rows_are_read_in_the_order_in_which_they_lie():
    source = DecodedImages(["a", "b", "c"], lambda place: place, [7, 2, 5])
    assert source.in_storage_order(range(3)) == [1, 2, 0]


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


def test_float32_is_left_as_it_is():
    with computing_in("float32", "cpu"):
        assert not torch.is_autocast_enabled("cpu")


def test_batches_keep_the_order_of_memory_of_their_parts():
    parts = [(row, torch.zeros(1, 4, 4, 3).permute(0, 3, 1, 2)) for row in (1, 0)]
    assert collated(parts).is_contiguous(memory_format=torch.channels_last)
    assert collated([(row, part.contiguous()) for row, part in parts]).is_contiguous()


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite"])
def test_networks_of_convolutions_are_given_channels_last(name):
    """Measured on two cores: 16 to 32 % faster; the order of the weights made no difference then, neither to the speed nor to a bit."""
    if name == "efficientnet_lite":
        pytest.importorskip("efficientnet_lite_pytorch")
        network = load_encoder(SimpleNamespace(kind=name, variant=0))
    else:
        entry = {"kind": "torchvision", "name": name, "weights": "random", "checkpoint": "none", "size": 64}
        network = load_encoder(TypeAdapter(EncoderSpec).validate_python(entry))
    batch = collated([(row, network.prepare([Noise().load(row)])) for row in range(3)])
    assert batch.is_contiguous(memory_format=torch.channels_last) and not batch.is_contiguous()


CROPS = np.array([[0, 0, 0, 2, 2], [0, 1, 0, 2, 2], [2, 0, 0, 1, 1], [2, 0, 0, 2, 2], [3, 0, 0, 2, 1]])


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_crops_come_in_order_and_an_image_is_decoded_once_for_a_batch(size, monkeypatch):
    source = Pictures()
    monkeypatch.setattr(embedding, "open_images", lambda *_: source)
    monkeypatch.setattr(embedding, "read_table", lambda _: None)
    found = embedding.batches_of_crops(None, CROPS, 1, size, "crops", list, embedding.pictures)
    batches = [[(int(crop[0, 0, 0]), *crop.shape[1::-1]) for crop in batch] for batch in found]
    expected = [(0, 1, 2), (2, 1, 1), (2, 2, 2), (3, 2, 1)]
    assert batches == [expected[start : start + size] for start in range(0, 4, size)]
    if size == 5:
        assert sorted(source.loaded) == [0, 2, 3]


def test_a_source_that_changed_is_told(tmp_path):
    def gone(place):
        raise UnreadableImageError("not a regular file")

    with pytest.raises(UserError, match="changed since it was listed"):
        list(activations(DecodedImages(["a"], gone), [Network()], [range(1)]))


def test_the_rendered_world_is_read_as_it_lies():
    assert PackedImages.in_storage_order(SimpleNamespace(), range(2, 5)) == [2, 3, 4]
