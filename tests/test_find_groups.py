"""Sets of images of features and groups, from planted activations."""

import numpy as np
import pandas as pd
import pytest

from stages import find_groups
from stages.common import files
from stages.common.artifacts import read_table, write_array, write_table
from stages.common.errors import UserError
from stages.common.params import load_params
from tests.paths import ROOT


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Two features that fire together on 20 of 200 probe images, six that do not; 50 more images are held out."""
    monkeypatch.chdir(tmp_path)
    features = 1 + 0.1 * np.random.default_rng(0).random((250, 8)).astype(np.float32)
    features[:20, :2] += 5
    split = ["probe"] * 200 + ["test"] * 50
    write_table(files.IMAGES, pd.DataFrame({"image": [f"i{row:03d}" for row in range(250)], "split": split}))
    write_array(files.activations("e") / "features.npy", features)
    params = load_params(ROOT / "params.yaml")
    settings = params.find_groups.model_copy(
        update={"top_k": 20, "min_images": 11, "max_images": 15, "random_images": 9}
    )
    return params.model_copy(update={"find_groups": settings})


def read():
    return (read_table(files.groups("e") / name) for name in ("groups.parquet", "sets.parquet"))


def test_planted_pair_is_the_first_group(planted):
    find_groups.run(planted, "e")
    groups, sets = read()
    pair = groups[groups["size"] == 2].iloc[0]
    assert pair["members"] == "0 1" and pair["support"] == 20 and pair["significant"]
    images = sets[(sets["group"] == pair["group"]) & (sets["role"] == "high")]["image"]
    assert set(images) <= {f"i{row:03d}" for row in range(20)} and len(images) == 15


def test_held_out_images_never_take_part(planted):
    find_groups.run(planted, "e")
    assert read_table(files.groups("e") / "sets.parquet")["image"].max() <= "i199"


def test_lowly_activating_images_are_other_images(planted):
    find_groups.run(planted, "e")
    _, sets = read()
    for _, rows in sets.groupby("group"):
        high, low = (set(rows.loc[rows["role"] == role, "image"]) for role in ("high", "low"))
        assert not high & low


def test_ranks_follow_the_activation(planted):
    find_groups.run(planted, "e")
    _, sets = read()
    for _, rows in sets[sets["role"] == "high"].groupby("group"):
        assert rows["rank"].tolist() == list(range(len(rows))) and rows["activation"].is_monotonic_decreasing


def test_every_single_feature_has_its_random_images(planted):
    find_groups.run(planted, "e")
    groups, sets = read()
    counts = sets[sets["role"] == "random"].groupby("group").size()
    assert set(counts.index) == set(groups.loc[groups["size"] == 1, "group"]) and (counts == 9).all()


def test_nothing_to_explain_is_said_in_one_line(planted):
    write_array(files.activations("e") / "features.npy", np.ones((250, 8), dtype=np.float32))
    with pytest.raises(UserError, match="min_images"):
        find_groups.run(planted, "e")
    assert not files.groups("e").exists()
