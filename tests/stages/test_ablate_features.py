"""Features that lead to a class or to a word: removal lowers what the first word names, and random directions do not."""

import numpy as np
import pandas as pd
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_json, read_table, write_array, write_table
from falcon_dvc.errors import UserError
from falcon_dvc.failures.probes import save_probe
from stages import ablate_features
from tests.support.stage_params import params_of

SETTINGS = {"encoders": ["simclr"], "images": 10, "directions": 40, "bootstrap": 20}
PARAMS = params_of({"ablate_features": SETTINGS, "fit_probe": {"encoders": ["simclr"]}})
TOWER = params_of({"ablate_features": SETTINGS})
# Of features 0 to 4; feature 5 was not explained. The lexicon calls a boat a ship too.
WORDS = {"f0": "ship", "f1": "cup", "f2": "owl", "f3": "red", "f4": ""}
CLASSES = ["boat", "cup", "owl"]


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Sixty images, half of them held out, whose first three features are those of a class."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    label = np.arange(60) % 3
    features = 0.1 * rng.random((60, 6))
    features[np.arange(60), label] += 1
    images = pd.DataFrame({"image": [f"{row}.png" for row in range(60)], "label": ""})
    write_table(paths.IMAGES, images.assign(split=np.where(np.arange(60) < 30, "probe", "test")))
    write_array(paths.activations("simclr") / "features.npy", features.astype(np.float32))
    groups = pd.DataFrame({"group": [*WORDS, "g01"], "size": [1] * 5 + [2]})
    write_table(paths.groups("simclr") / "groups.parquet", groups)
    words = pd.DataFrame(
        {"group": list(WORDS), "concept": list(WORDS.values()), "kind": "word", "rank": 1, "kept": True}
    )
    write_table(paths.concepts("simclr") / "concepts.parquet", words[words["concept"] != ""])
    write_table("data/scenes/lexicon.parquet", pd.DataFrame({"kind": ["object"], "value": ["boat"], "word": ["ship"]}))
    save_probe(paths.probe("simclr"), np.eye(3, 6) + 0.01, np.zeros(3), CLASSES)
    return features


def results():
    table, texts = (
        read_table(paths.table("simclr_ablation")).set_index("group"),
        ["output", "falls_most", "named_by_word"],
    )
    numbers = table.drop(columns=["word", *texts]).apply(pd.to_numeric)
    return numbers.assign(**table[texts]), read_json(paths.metrics("ablation_simclr"))


def test_the_class_of_the_word_falls_most(world):
    ablate_features.run(PARAMS, "simclr")
    table, metrics = results()
    assert table["falls_most"].head(3).tolist() == CLASSES
    assert table["word_names_it"].head(3).tolist() == [1, 1, 1] and table["word_names_it"].isna().tail(2).all()
    assert table["named_by_word"].tolist() == [*CLASSES, "", ""]
    assert (table["own_fall"].head(3) > table["own_random_change"].head(3)).all()
    assert (table["own_p_value"].head(3) < 0.05).all() and (table["other_words_fall"].head(3) < 0).all()
    assert (metrics["features"], metrics["outputs"], metrics["held_out"]) == (5, 3, 1)
    assert metrics["features_whose_word_names_an_output"] == 3
    assert metrics["word_names_it"]["share"] == 1 > metrics["permuted_words"]["share"]
    assert metrics["own_less_other_words"]["interval_low"] > 0
    assert metrics["dropped_share"]["features"] == 0.4


def test_every_logit_of_every_feature_is_kept(world):
    summary = ablate_features.run(PARAMS, "simclr")
    falls = read_array(paths.ABLATIONS / "simclr.npy")
    strong = world[30:, 0][np.argsort(-world[30:, 0])[:10]].mean() - world[:30, 0].mean()
    assert falls.shape == (5, 3) and np.allclose(falls[0], strong * np.array([2, -1, -1]) / 3, atol=1e-5)
    assert summary.dropped["features"] == {"whose removal lowers no output": 2}


def test_without_held_out_images_the_probe_images_are_changed(world):
    write_table(paths.IMAGES, read_table(paths.IMAGES).assign(split="probe"))
    ablate_features.run(PARAMS, "simclr")
    assert results()[1]["held_out"] == 0


@pytest.fixture
def tower(world, monkeypatch):
    """The features lead to the joint space, in which each word has a direction."""
    monkeypatch.setattr(ablate_features, "read_classifier", lambda *_: None)
    monkeypatch.setattr(ablate_features, "embedding_map", lambda *_: (np.eye(6, dtype=np.float32), np.zeros(6)))
    write_array(paths.IMAGE_EMBEDDINGS / "embeddings.npy", world / np.linalg.norm(world, axis=1, keepdims=True))
    write_table(paths.IMAGE_CAPTIONS / "words.parquet", pd.DataFrame({"word": ["cup", "ship", "red"]}))
    write_array(paths.IMAGE_CAPTIONS / "words.npy", np.eye(6)[[1, 0, 3]])


def test_the_cosine_with_the_own_word_falls_most(tower):
    ablate_features.run(TOWER, "simclr")
    table, metrics = results()
    assert table["falls_most"].head(2).tolist() == ["ship", "cup"] and set(table["output"]) == {"cosine"}
    assert table["named_by_word"].tolist() == ["ship", "cup", "", "red", ""], "owl is not among the frequent words"
    assert metrics["own_word_fall"]["mean"] > metrics["other_words_fall"]["mean"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda: write_array(paths.IMAGE_EMBEDDINGS / "embeddings.npy", np.eye(60, 6)),
            r"mean cosine .*; name the same model",
        ),
        (lambda: write_array(paths.IMAGE_EMBEDDINGS / "embeddings.npy", np.ones((60, 9))), r"not those of image_text"),
        (
            lambda: write_table(paths.IMAGE_CAPTIONS / "words.parquet", pd.DataFrame({"word": list("abc")})),
            "no first word",
        ),
    ],
)
def test_another_space_is_one_line(tower, change, line):
    change()
    with pytest.raises(UserError, match=line):
        ablate_features.run(TOWER, "simclr")
    assert not paths.table("simclr_ablation").exists()


def test_features_that_lead_nowhere_are_one_line(tower, monkeypatch):
    monkeypatch.setattr(ablate_features, "embedding_map", lambda *_: None)
    with pytest.raises(UserError, match=r"'simclr' has no classifier, .*; list it in fit_probe\.encoders too"):
        ablate_features.run(TOWER, "simclr")


def test_a_classifier_of_one_class_is_one_line(world):
    save_probe(paths.probe("simclr"), np.ones((1, 6)), np.zeros(1), ["boat"])
    with pytest.raises(UserError, match="the classifier of 'simclr' has one output"):
        ablate_features.run(PARAMS, "simclr")
