"""The benchmark of a whole run on photographs: its released flow does every step, and only what was measured is extrapolated."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from benchmarks import bench_report, photos

PICTURES = np.random.default_rng(0).integers(0, 256, (12, 32, 48, 3), dtype=np.uint8)


class Encoder:
    """Four features: the channels of a convolution."""

    def __init__(self) -> None:
        self._network = type("Network", (), {"extract_features": torch.nn.Conv2d(3, 4, 4, stride=4)})()

    def prepare(self, images):
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255

    def activations(self, images):
        return None

    def field(self, width, height):
        return 8, 0, 40, 32


class Joint:
    """Mean colours, as long as one."""

    def embed_images(self, images):
        means = np.array([image.mean(axis=(0, 1)) for image in images], dtype=np.float32)
        return means / np.linalg.norm(means, axis=1, keepdims=True)


class Images(list):
    """Pictures by their rows."""

    def load(self, row):
        return self[row]


@pytest.fixture
def flow():
    """A released flow whose models and images are at hand."""
    made = object.__new__(photos.ReleasedFlow)
    generator = np.random.default_rng(1)
    made._encoder, made._joint, made._images = Encoder(), Joint(), Images(PICTURES)
    made._normalised = np.abs(generator.standard_normal((12, 4)))
    made._groups = pd.DataFrame({"group": ["f0", "f1", "f2", "f3"], "members": ["0", "1", "2", "3"]})
    roles = ["high"] * 3 + ["low"] * 2
    made._sets = pd.DataFrame(
        {"group": np.repeat(made._groups["group"], 5), "role": roles * 4, "row": [0, 1, 2, 3, 4] * 4}
    )
    embeddings = generator.standard_normal((20, 3)).astype(np.float32)
    made._embeddings = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    made._texts = np.array([f"a dog on the beach number {i}" for i in range(20)])
    made._seconds = {}
    return made


def test_every_step_is_timed_and_the_groups_not_measured_are_extrapolated(flow, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(photos.time, "perf_counter", lambda: next(clock))
    assert flow.seconds(2) == {
        "activations": 1.0,
        "groups": 1.0,
        "heatmaps": 4.0,
        "boxes": 4.0,
        "embedding": 8.0,
        "lowly": 4.0,
        "captions": 8.0,
        "words": 8.0,
    }


def test_a_box_on_the_heatmap_is_one_on_the_image(flow):
    whole = flow._cropped(PICTURES[0], (0, 0, photos.SIZE, photos.SIZE))
    assert np.array_equal(whole, PICTURES[0][:, 8:40])
    assert flow._cropped(PICTURES[0], (0, 0, photos.SIZE // 2, photos.SIZE // 4)).shape[:2] == (8, 16)


def test_an_encoder_without_photographs_is_named():
    done = CliRunner().invoke(photos.app, ["--encoder", "supervised"])
    assert done.exit_code == 1
    assert "--encoder supervised: no efficientnet_lite of encoders in" in done.output


def test_the_page_shows_both_sides(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_report, "FOLDER", tmp_path)
    found = {
        "images": 1000,
        "groups": 132,
        "groups_measured": 8,
        "embedding_captions": 100.0,
        "ours": {"collect_images": 10.0, "mine_crops": 40.0},
        "reference": {"heatmaps": 250.0},
        "ours_seconds": 150.0,
        "reference_seconds": 350.0,
        "times_faster": 350 / 150,
        "times_faster_without_embedding_captions": 5.0,
        "times_faster_at_most": 2.8,
        "our_networks": {"images": 5.0, "crops": 20.0},
    }
    (tmp_path / "photos.json").write_text(json.dumps(found))
    page = bench_report.page()
    assert "| heatmaps | 250 | collect_images | 10 |\n|  |  | mine_crops | 40 |\n" in page
    assert "| **all** | 350 | **all** | 150 |" in page
    assert "**2.3** times faster (aim: 10), 5 times without" in page
    assert "at most 2.8 times as fast: images take them 5 s, crops 20 s." in page


def test_a_network_is_timed_by_the_image(monkeypatch):
    clock = iter([0, 9, 10, 14, 20, 24, 30, 34, 40, 44, 50, 54])
    monkeypatch.setattr(photos.time, "perf_counter", lambda: next(clock))
    batches = []
    assert photos._each(batches.append, [0] * 8) == 0.5
    assert len(batches) == 1 + photos.REPEATS
