"""Final-layer units: the right answer is found where crops show it, chance where units are shuffled, and images are joined by key."""

import numpy as np
import pandas as pd
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json, read_table, write_array, write_table
from falcon_dvc.evaluation.units import rank_of_own
from falcon_dvc.models.encoders.classifiers import LinearClassifier
from falcon_dvc.params.load import load_params
from stages import evaluate_units as units
from tests.support.paths import ROOT

CLASSES = 12


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A classifier whose unit k answers to feature k, an image of each class, and an encoder that embeds the crop's class."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    order = rng.permutation(CLASSES)
    names = tuple(f"class {k}" for k in range(CLASSES))
    images = pd.DataFrame(
        {"image": [f"i{row}" for row in range(CLASSES)], "split": "probe", "label": [f"n{k}" for k in order]}
    ).assign(width=64, height=64)
    write_table(paths.IMAGES, images)
    maps = 0.05 * rng.random((CLASSES, CLASSES, 4, 4))
    maps[np.arange(CLASSES), order, 1, 2] += 16
    write_array(paths.activations("net") / "maps.npy", maps.astype(np.float16))
    write_array(paths.activations("net") / "features.npy", maps.mean(axis=(2, 3)).astype(np.float32))
    write_array(paths.activations("net") / "fields.npy", np.tile([0, 0, 64, 64], (CLASSES, 1)).astype(np.int32))
    classifier = LinearClassifier(
        np.eye(CLASSES, dtype=np.float32), np.zeros(CLASSES), names, tuple(f"n{k}" for k in range(CLASSES))
    )
    monkeypatch.setattr(units, "linear_classifier", lambda *_: classifier)
    seen = np.eye(CLASSES)[order]
    monkeypatch.setattr(units, "_embedded", lambda _, row, *__: (seen[row], np.eye(CLASSES)))
    params = load_params(ROOT / "params.yaml")
    settings = params.evaluate_units.model_copy(update={"images": 1, "encoders": ("net",)})
    params = params.model_copy(update={"evaluate_units": settings, "encoders": {"net": params.encoders["supervised"]}})
    units.run(params, "net")
    return read_table(paths.table("net_units")), read_json(paths.metrics("units_net")), order


def test_units_are_named_rightly_where_their_images_show_them(run):
    table, metrics, _ = run
    assert table["unit"].tolist() == [f"n{k}" for k in range(CLASSES)]
    assert (table["class_among_images"] == True).all()  # noqa: E712 (read from csv)
    for method in ("falcon", "soft_wpmi"):
        assert metrics["all_units"][method]["top1"]["share"] == 1.0


def test_shuffled_units_are_at_chance(run):
    _, metrics, _ = run
    assert metrics["all_units"]["shuffled_units"]["top1"]["share"] < 0.4


def test_rank_of_own_counts_ties_against_the_own_name():
    score = np.array([[0.5, 0.5, 0.0], [0.1, 0.9, 0.9], [0.0, 0.0, 0.0]])
    assert rank_of_own(score).tolist() == [2, 2, 3]
