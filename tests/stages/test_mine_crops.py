"""Crops of two groups, with and without activation maps."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_json, read_table, write_array, write_table
from falcon_dvc.params.load import load_params
from falcon_dvc.params.schema import EncoderSpec
from stages import extract_activations, mine_crops
from tests.support.paths import ROOT

SETS = pd.DataFrame(
    [
        ("f1", "high", 0), ("f1", "high", 1), ("f2", "high", 0), ("f1", "low", 0),
        ("f2", "random", 0), ("f1", "random", 0), ("f1", "random", 1), ("f1", "random", 2),
    ],
    columns=["group", "role", "rank"],
)  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Two stages on six random images, with the members of two groups; give the params of an encoder."""
    monkeypatch.chdir(tmp_path)
    reader = SimpleNamespace(fingerprint="none", preprocessing="none", dim=2)
    monkeypatch.setattr("falcon_dvc.models.image_text.load.load_image_text", lambda *_: reader)
    monkeypatch.setattr("falcon_dvc.crops.embedding.embed_crops", lambda _s, _e, rows, *_: np.zeros((len(rows), 2)))
    images = [f"i{row}" for row in range(6)]
    table = pd.DataFrame({"image": images, "split": "probe", "label": "", "width": 32, "height": 32})
    write_table(paths.IMAGES, table)
    write_table(paths.SCENES / "attributes.parquet", table[["image", "split"]])
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    write_array(paths.SCENES / "images.npy", pixels)
    write_table(paths.groups("net") / "groups.parquet", pd.DataFrame({"group": ["f1", "f2"], "members": ["1", "2 5"]}))
    write_table(paths.groups("net") / "sets.parquet", SETS.assign(image=[images[row % 6] for row in range(8)]))

    def run_stages(**spec):
        network = {"kind": "timm", "name": "test_vit", "weights": "random", "size": 64}
        encoder = TypeAdapter(EncoderSpec).validate_python(network | spec)
        params = load_params(ROOT / "params.yaml").model_copy(update={"encoders": {"net": encoder}})
        extract_activations.run(params, "net")
        mine_crops.run(params, "net")
        return read_array(paths.crops("net") / "heatmaps.npy"), read_table(paths.crops("net") / "crops.parquet")

    return run_stages


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_crops_are_mined_with_and_without_maps(pooling, run):
    heatmaps, crops = run(pooling=pooling)
    assert (paths.activations("net") / "maps.npy").exists() == (pooling == "mean")
    assert heatmaps.shape == (8, 4, 4) and heatmaps.max(axis=(1, 2)).tolist() == [
        0 if e else 255 for e in crops["empty"]
    ]
    assert not crops["empty"].all()
    assert ((crops["right"] > crops["left"]) & (crops["right"] <= 32)).all()
    assert (heatmaps[0] != heatmaps[2]).any()


@pytest.mark.usefixtures("spaces")
def test_the_embeddings_say_which_model_made_them():
    sets = pd.DataFrame({"group": "f0", "role": ["high", "high", "random"], "rank": [0, 1, 0]})
    write_table(paths.groups("a") / "sets.parquet", sets.assign(image=["probe-00000", "probe-00001", "probe-00002"]))
    mine_crops.run(load_params(ROOT / "params.yaml"), "a")
    assert read_array(paths.crops("a") / "embeddings.npy").shape == (3, 3)
    made_by = read_json(paths.crops("a") / "embeddings.json")
    assert made_by == {"image_text": "eye", "preprocessing": "the mean colour"}
