"""Whether first words hold below the maximum, of planted colours: words, controls, labels, examples."""

import numpy as np
import pandas as pd
import pytest

from falcon_dvc import paths
from falcon_dvc.activations.parts import PARTS
from falcon_dvc.artifacts.formats import read_array, read_json, read_table, write_array, write_table
from falcon_dvc.evaluation import quantile_table
from falcon_dvc.evaluation.quantile_table import EXAMPLES
from stages import measure_quantiles
from tests.support.faithful import faithful_params, write_faithful, write_first_words
from tests.support.transfer_spaces import NAMES

HELD_OUT = 90


def params(**overlay):
    return faithful_params().model_copy(update={"worlds": (), **overlay})


@pytest.fixture(autouse=True)
def here(spaces, monkeypatch):
    """Feature j is above 0 on the images of colour j alone, by a random amount; scores are 1 or 0."""
    # Which words name a class takes seconds to find, and is tested with evaluation/class_truth.py.
    monkeypatch.setattr(measure_quantiles, "words_of_classes", lambda classes, _: {name: {name} for name in classes})
    write_faithful(HELD_OUT)
    path = paths.IMAGE_CAPTIONS / "weights.npy"
    write_array(path, np.ones(read_array(path).shape))
    colour = read_table(paths.IMAGES)["label"].map(NAMES.index).to_numpy()
    activations = np.eye(3)[colour] * (0.1 + np.random.default_rng(0).random((len(colour), 3)))
    write_array(paths.groups("a") / "activations.npy", activations.astype(np.float32))


def measured(some=None):
    measure_quantiles.run(some or params(), "a")
    return read_table(paths.table("a_quantiles"))


def test_words_that_are_right_hold_wherever_the_feature_fires():
    table = measured()
    assert table["group"].tolist() == np.repeat(["f0", "f1", "f2"], len(PARTS)).tolist()
    assert table["part"].tolist() == list(PARTS) * 3 and table["word"].tolist() == np.repeat(NAMES, len(PARTS)).tolist()
    fires = table["part"] != "not_active"
    assert (table.loc[fires, "score"] == 1).all() and (table.loc[~fires, "score"] == 0).all()
    assert (
        (table.loc[fires, "lift"] > 2).all()
        and (table["holds_to"] == 0).all()
        and (table["permuted_holds_to"] == 100).all()
    )
    assert table.groupby("group")["images"].sum().tolist() == [HELD_OUT] * 3


def test_labels_say_which_share_shows_the_word():
    table = measured()
    fires = table["part"] != "not_active"
    assert (table.loc[fires, "shown"] == 1).all() and (table.loc[~fires, "shown"] == 0).all()
    assert (table.loc[fires, "permuted_shown"] == 0).all() and (table["word"] != table["permuted_word"]).all()
    assert table["shown_by_chance"].between(0.2, 0.5).all()
    write_table(paths.IMAGES, read_table(paths.IMAGES).assign(label=""))
    assert "shown" not in measured() and "score" in read_table(paths.table("a_quantiles"))


def test_metrics_have_a_control():
    measured()
    metrics = read_json(paths.metrics("quantiles_a"))
    first, permuted = (metrics["deciles_2_to_5"][words] for words in ("first_word", "permuted_words"))
    assert metrics["features"] == 3 and metrics["held_out"] == 1 and metrics["permuted_holds_to"]["median"] == 100
    assert first["score"]["median"] == 1 and first["shown"]["median"] == 1 and permuted["shown"]["median"] == 0
    assert permuted["above_chance"]["share"] == 0 and first["lift"]["median"] > 2 > permuted["lift"]["median"]
    bars = read_table(paths.plot("a_quantiles"))
    assert bars["images"][:2].tolist() == ["top decile", "top decile, permuted words"] and len(bars) == 2 * len(PARTS)


def test_a_feature_without_a_word_is_not_measured():
    write_first_words("a", ["", "green", "blue", "red"])
    table = measured()
    assert (table.loc[table["group"] == "f0", ["score", "holds_to"]] == "").all(axis=None)
    assert read_json(paths.metrics("quantiles_a"))["without_a_word"] == 1


def test_sides_of_directions_are_named(spaces):
    groups = read_table(paths.groups("a") / "groups.parquet")
    write_table(paths.groups("a") / "groups.parquet", groups.assign(side=["positive", "negative", "negative", ""]))
    assert measured().groupby("group")["side"].first().tolist() == ["positive", "negative", "negative"]


def test_blocks_of_features_change_nothing(monkeypatch):
    whole = measured()
    monkeypatch.setattr(quantile_table, "FEATURES_AT_ONCE", 2)
    pd.testing.assert_frame_equal(pd.DataFrame(measured()), pd.DataFrame(whole))


def test_examples_are_held_out_images_below_the_top_decile():
    measured()
    examples, images = read_table(paths.quantiles("a")), read_table(paths.IMAGES)
    assert examples.groupby(["group", "part"]).size().tolist() == [EXAMPLES] * 6
    rows = pd.Index(images["image"]).get_indexer(examples["image"])
    assert (images["split"].iloc[rows] == "test").all()
    activations = read_array(paths.groups("a") / "activations.npy")
    feature = examples["group"].str[1:].astype(int)
    assert np.allclose(activations[rows, feature], examples["activation"])
    assert (examples.groupby(["group", "part"])["activation"].diff().dropna() <= 0).all()
    assert ((examples["left"] >= 0) & (examples["left"] < examples["right"])).all()


def test_without_held_out_images_the_probe_images_are_measured():
    write_table(paths.IMAGES, read_table(paths.IMAGES).assign(split="probe"))
    summary = measure_quantiles.run(params(), "a")
    assert "also measure them" in summary.lacking[0]
    assert read_json(paths.metrics("quantiles_a"))["held_out"] == 0


def test_no_explained_feature():
    groups = read_table(paths.groups("a") / "groups.parquet")
    write_table(paths.groups("a") / "groups.parquet", groups[groups["size"] > 1])
    assert measured().empty and read_table(paths.quantiles("a")).empty
    assert read_json(paths.metrics("quantiles_a"))["features"] == 0
