"""Coherent features are found, random images are not, and small crops that resemble each other do not count."""

import numpy as np
import pandas as pd
import pytest

from falcon_dvc.evaluation.explainability import measure_coherence
from falcon_dvc.params.load import load_params
from stages.measure_explainability import _of_all_features, _shuffled
from tests.support.paths import ROOT

SETTINGS = load_params(ROOT / "params.yaml").measure_explainability.model_copy(update={"null_sets": 200})
GROUPS = pd.DataFrame({"group": [f"f{k}" for k in range(12)], "size": 1})
IMAGES = pd.DataFrame({"image": [f"i{k}" for k in range(400)], "width": 64, "height": 64})


def crops(seed, coherent=6):
    """Twelve features of 15 crops and 20 random ones each; the first `coherent` share a direction, and every small crop another."""
    rng = np.random.default_rng(seed)
    rows, embeddings = [], []
    for feature in range(12):
        common = rng.normal(size=16)
        for role, count in (("high", 15), ("random", 20)):
            for rank in range(count):
                side = int(rng.choice([20, 64]))
                rows.append((f"f{feature}", role, rank, f"i{rng.integers(400)}", 0, 0, side, side))
                shared = common if role == "high" and feature < coherent else np.zeros(16)
                embeddings.append(rng.normal(size=16) + shared + (3.0 if side == 20 else 0.0) * np.eye(16)[0])
    embeddings = np.array(embeddings)
    table = pd.DataFrame(rows, columns=["group", "role", "rank", "image", "left", "top", "right", "bottom"])
    return table, embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(3))
def test_features_whose_crops_share_something_are_interpretable_and_no_others(seed):
    table, embeddings = crops(seed)
    found = measure_coherence(GROUPS, table, embeddings, IMAGES, SETTINGS)["interpretable"].to_numpy()
    assert found[:6].all()
    assert found[6:].sum() <= 1


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_activations_are_at_chance(seed):
    found = _shuffled(GROUPS, *crops(seed), IMAGES, SETTINGS)
    assert found["features"] == 12
    assert found["interpretable"] <= 1
    assert abs(found["median_z"]) < 1


def test_a_feature_of_small_crops_is_held_against_small_crops():
    table, embeddings = crops(0, coherent=0)
    small = (table["role"] == "random") | (table["group"] != "f0") | (table["right"] == 20)
    found = measure_coherence(GROUPS, table[small].reset_index(drop=True), embeddings[small], IMAGES, SETTINGS)
    assert found["coherence"].iloc[0] > found["coherence"].iloc[1:].max()
    assert not found["interpretable"].iloc[0]


def test_features_that_were_not_chosen_do_not_count_as_not_interpretable():
    measured = pd.DataFrame({"size": [1, 1, 2], "interpretable": [True, True, False]})
    measured["released_interpretable"] = measured["interpretable"]
    found = _of_all_features(measured, 8, None, SETTINGS)["of_the_space"]
    assert found["interpretable"]["share"] == 0.25
    found = _of_all_features(measured, 8, 4, SETTINGS)
    assert found["chosen"] == 4 and found["of_the_chosen"]["interpretable"]["share"] == 0.5
