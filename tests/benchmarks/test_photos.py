"""The benchmark of a whole run on photographs: its released flow does every step, and only what was measured is extrapolated."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from benchmarks import bench_report, photos
from falcon_dvc.params.load import read_yaml

PICTURES = np.random.default_rng(0).integers(0, 256, (12, 32, 48, 3), dtype=np.uint8)


class Encoder:
    """Four features: the channels of a convolution."""

    def __init__(self) -> None:
        self._network = type("Network", (), {"extract_features": torch.nn.Conv2d(3, 4, 4, stride=4)})()

    def prepare(self, images):
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255

    def activations(self, images):
        return np.full((len(images), 4), 2.0), None

    def field(self, width, height):
        return 8, 0, 40, 32


class Joint:
    """Mean colours, as long as one; the first time takes longer."""

    slow = 0

    def embed_texts(self, texts):
        self.embedded = len(texts)

    def embed_images(self, images):
        self.slow, first = 1, not self.slow
        if first:
            photos.time.perf_counter()
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
    made._features = np.full((12, 4), 2.0)
    made._seconds = {}
    return made


def test_every_step_is_timed_and_the_groups_not_measured_are_extrapolated(flow, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(photos.time, "perf_counter", lambda: next(clock))
    chosen = flow.evenly(2)
    assert chosen == [0, 3]
    flow.warm_up(0)
    assert flow.seconds(chosen) == {
        photos.CAPTIONS: 20 / 3,
        "activations": 1.0,
        "groups": 1.0,
        "heatmaps": 4.0,
        "boxes": 4.0,
        "embedding": 8.0,
        "lowly": 4.0,
        "captions": 8.0,
        "words": 8.0,
    }


def test_no_more_groups_are_explained_than_there_are(flow):
    assert flow.evenly(9) == [0, 1, 2, 3]


def test_features_that_differ_are_counted(flow):
    assert flow.same_features() == 1.0
    flow._features[:, 0] = 2.1
    assert flow.same_features() == 0.75


def test_repetitions_become_medians():
    ours = [{"mine_crops": float(taken), photos.EMBEDDING: 10.0} for taken in (10, 30, 20)]
    reference = [{"heatmaps": 80.0, "words": float(taken), photos.CAPTIONS: 20.0} for taken in (10, 20, 30)]
    found = photos.compared(ours, reference)
    assert found["ours"] == {"mine_crops": 20.0, photos.EMBEDDING: 10.0}
    assert found["reference"] == {"heatmaps": 80.0, "words": 20.0, photos.CAPTIONS: 20.0}
    assert found["ours_seconds"] == {"seconds": 30.0, "least": 20.0, "most": 40.0}
    assert found["reference_seconds"]["seconds"] == 120.0
    assert found["times_faster"] == 4 and found["times_faster_without_embedding_captions"] == 5


def test_a_box_on_the_heatmap_is_one_on_the_image(flow):
    whole = flow._cropped(PICTURES[0], (0, 0, photos.SIZE, photos.SIZE))
    assert np.array_equal(whole, PICTURES[0][:, 8:40])
    assert flow._cropped(PICTURES[0], (0, 0, photos.SIZE // 2, photos.SIZE // 4)).shape[:2] == (8, 16)


def test_an_encoder_without_photographs_is_named():
    done = CliRunner().invoke(photos.app, ["run", "--encoder", "supervised"])
    assert done.exit_code == 1
    assert "--encoder supervised: no efficientnet_lite of encoders in" in done.output


def test_another_image_text_encoder_is_named(monkeypatch):
    spec = type("Spec", (), {"kind": "efficientnet_lite"})()
    params = type("Params", (), {"encoders": {"lite0": spec}, "image_text": type("Clip", (), {"kind": "open_clip"})()})
    monkeypatch.setattr(photos, "load_params", lambda: params)
    done = CliRunner().invoke(photos.app, ["run"])
    assert done.exit_code == 1 and "image_text: not conse with its own classifier in" in done.output


def test_the_page_shows_both_sides(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_report, "FOLDER", tmp_path)
    found = photos.compared(
        [{"collect_images": 10.0, "mine_crops": 40.0, photos.EMBEDDING: 100.0}],
        [{"heatmaps": 250.0, photos.CAPTIONS: 100.0}],
    )
    found |= {"images": 1000, "groups": 132, "groups_measured": 8, "same_features": 1.0}
    found |= {"ours_peak_mb": 900.0, "reference_peak_mb": 1200.0}
    (tmp_path / "photos.json").write_text(json.dumps(found))
    page = bench_report.page()
    assert "| heatmaps | 250 | collect_images | 10 |\n| embedding captions | 100 | mine_crops | 40 |\n" in page
    assert "| **all** | 350 s (350 s–350 s) | **all** | 150 s (150 s–150 s) |" in page
    assert "Medians of 1 repetitions: **2.3** times faster (aim: 4), 5 times without" in page


def test_both_precisions_become_medians():
    ours = [{"mine_crops": taken} for taken in (10.0, 30.0, 20.0)]
    half = [{"mine_crops": taken} for taken in (4.0, 5.0, 9.0)]
    found = photos.compared_precisions(ours, half)
    assert found["ours"] == {"mine_crops": 20.0} and found["half"] == {"mine_crops": 5.0}
    assert found["times_faster"] == 4 and found["half_seconds"] == {"seconds": 5.0, "least": 4.0, "most": 9.0}


def write_found(folder, words):
    """Groups f0, f1, ... of one feature each, with a best word or none."""
    names = [f"f{number}" for number in range(len(words))]
    members = [number for number, _ in words]
    (folder / "data/groups/lite0").mkdir(parents=True)
    (folder / "data/concepts/lite0").mkdir(parents=True)
    pd.DataFrame({"group": names, "members": members}).to_parquet(folder / "data/groups/lite0/groups.parquet")
    rows = [
        (name, kind, rank, word, kept)
        for name, (_, best) in zip(names, words, strict=True)
        for kind, rank, word, kept in (("word", 1, best or "no", bool(best)), ("word", 2, "x", True), ("phrase", 1, "y", True))
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["group", "kind", "rank", "concept", "kept"])
    table.to_parquet(folder / "data/concepts/lite0/concepts.parquet")


def test_groups_are_compared_by_their_members_and_by_their_first_words(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    write_found(here, [("1", "boat"), ("2", "dog"), ("3", None), ("4", "sky")])
    write_found(there, [("2", "cat"), ("1", "boat"), ("3", None), ("1 2", "sea")])
    monkeypatch.chdir(here)
    assert photos.agreement("lite0", there) == {
        "groups": 4,
        "groups_in_half": 4,
        "same_groups": 3 / 5,
        "same_first_word": 2 / 3,
    }


def test_half_precision_runs_beside_the_project_and_leaves_nothing(tmp_path, monkeypatch):
    project, seen = tmp_path / "photos", []
    project.mkdir()
    monkeypatch.chdir(project)
    photos.YAML().dump(
        {"image_text": {"kind": "conse"}, "extract_activations": {"batch_size": 64}}, Path("params.yaml")
    )
    monkeypatch.setattr(photos, "agreement", lambda encoder, folder: {})

    def chain(encoder, folder):
        seen.append((folder.parent, read_yaml(folder / "params.yaml")))
        return {"mine_crops": 1.0}, 900.0

    monkeypatch.setattr(photos, "_chain", chain)
    assert photos.our_stages_in_half("lite0", 0) == {"seconds": {"mine_crops": 1.0}, "half_peak_mb": 900.0}
    half = {"precision": "bfloat16"}
    params = {"image_text": {"kind": "conse"} | half, "extract_activations": {"batch_size": 64} | half}
    assert seen == [(tmp_path, params)] and list(tmp_path.iterdir()) == [project]


def test_the_page_shows_both_precisions(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_report, "FOLDER", tmp_path)
    found = photos.compared_precisions([{"mine_crops": 40.0}], [{"mine_crops": 16.0}])
    found |= {"groups": 132, "groups_in_half": 130, "same_groups": 0.95, "same_first_word": 0.9}
    found |= {"ours_peak_mb": 900.0, "half_peak_mb": 800.0}
    (tmp_path / "half.json").write_text(json.dumps(found))
    page = bench_report.page()
    assert "| mine_crops | 40 | 16 |" in page and "**2.5** times faster" in page
    assert "finds 132 groups, half 130; 95% of all are in both, and of these 90% have" in page
