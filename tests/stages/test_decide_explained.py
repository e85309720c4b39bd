"""What is explained, by the controls of each encoder; and what a run without them says."""

import numpy as np
import pandas as pd
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json, read_table, write_array, write_table
from falcon_dvc.errors import UserError
from stages import decide_explained
from tests.support.faithful import control, faithful_params

WITH_CONTROLS = {"a": {}, "b": control("a"), "c": control("a")}
NUMBERS = ("pearson", "pearson_low", "pearson_high", "permuted_pearson")
FEATURES = 40


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Thirty features, of which the encoder `a` exceeds both controls in twenty, and a set of one class."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in WITH_CONTROLS:
        excess = rng.normal(size=30) / 10
        write(name, excess + 2 * (np.arange(30) < 20) * (name == "a"))
        write_array(paths.groups(name) / "activations.npy", np.zeros((5, FEATURES), dtype=np.float32))


def write(name, excess, **columns):
    groups = [f"f{feature}" for feature in range(len(excess))]
    table = pd.DataFrame({"group": groups, "size": 1, "kind": "feature", "word": "red", "excess": excess})
    made = table.iloc[:1].assign(group="red", size=0, kind="class set")
    table = pd.concat([table, made], ignore_index=True).assign(**dict.fromkeys(NUMBERS, 0.4), permuted_word="blue")
    write_table(paths.faithfulness(name), table.assign(level=0.1, permuted_excess=-1.0, **columns))


def decided(encoders):
    summary = decide_explained.run(faithful_params(encoders))
    return summary, read_json(paths.metrics("explained")), read_table(paths.EXPLAINED)


def test_features_beyond_the_controls_are_explained_and_counted_among_all_features():
    summary, metrics, table = decided(WITH_CONTROLS)
    own = table[(table["encoder"] == "a") & (table["kind"] == "feature")]
    assert own["explained"].tolist() == [True] * 20 + [False] * 10
    assert metrics["a"]["feature"]["share"] == 20 / FEATURES and metrics["a"]["feature"]["measured"] == 30
    assert metrics["a"]["feature"]["permuted_words"]["share"] == 0 and metrics["a"]["class_set"]["share"] == 1
    assert not summary.lacking


def test_each_control_is_judged_by_the_other_one():
    _, metrics, table = decided(WITH_CONTROLS)
    assert [metrics[name]["controls"] for name in "abc"] == [2, 1, 1]
    assert [metrics[name]["is_a_control"] for name in "abc"] == [False, True, True]
    assert metrics["b"]["feature"]["share"] <= 0.05 and table["explained"].notna().all()
    bars = read_table(paths.plot("explained"))
    assert bars["encoder"].tolist() == ["a", "b", "c"] and bars["share"][0] == 0.5


def test_chosen_features_are_all_that_count():
    features = {"features": list(range(30))}
    assert decided(WITH_CONTROLS | {"a": features})[1]["a"]["feature"]["share"] == pytest.approx(20 / 30, abs=1e-4)


def test_one_control_is_judged_by_none():
    summary, metrics, table = decided({"a": {}, "b": control("a")})
    assert "share" in metrics["a"]["feature"] and "share" not in metrics["b"]["feature"]
    assert summary.lacking == [
        "b: no other encoder is a control of it (encoders.NAME.control_of), so no verdict is calibrated"
    ]
    assert table.loc[table["encoder"] == "b", "explained"].isna().all()
    said = table.groupby("encoder")["no_verdict"].unique()
    assert list(said["a"]) == [""] and list(said["b"]) == [
        "no other encoder is a control of it (encoders.NAME.control_of)"
    ]


def test_a_control_of_too_few_features_gives_no_verdict_and_the_rows_say_so():
    write("b", np.zeros(5))
    _, metrics, table = decided({"a": {}, "b": control("a")})
    assert "share" not in metrics["a"]["feature"]
    assert table.loc[table["encoder"] == "a", "no_verdict"].str.startswith("its controls have too few features").all()


def test_without_a_control_only_the_correlation_is_given():
    summary, metrics, table = decided({"a": {}})
    assert metrics["a"] == {
        "is_a_control": False,
        "class_set": {"measured": 1, "median_pearson": 0.4},
        "feature": {"measured": 30, "median_pearson": 0.4},
    }
    assert "explained" not in table and "control_of" in summary.lacking[0]
    assert list(read_table(paths.plot("explained"))) == ["encoder", "share", "interval_low", "interval_high"]


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (["group", "size", "kind", "word", *NUMBERS, "permuted_word"], "measure_faithfulness.reference_encoders"),
        (["group", "size", "kind", "word"], "data.heldout"),
    ],
)
def test_what_was_not_measured_is_not_decided(kept, words):
    for name in WITH_CONTROLS:
        write_table(paths.faithfulness(name), read_table(paths.faithfulness(name))[kept])
    summary, metrics, table = decided(WITH_CONTROLS)
    assert len(summary.lacking) == 3 and all(words in line for line in summary.lacking)
    assert "explained" not in table and all("controls" not in metrics[name] for name in "abc")


@pytest.mark.parametrize("column", ["kind", "word", "pearson_low", "permuted_pearson", "excess", "permuted_excess"])
def test_a_table_without_a_column_is_refused(column):
    write_table(paths.faithfulness("b"), read_table(paths.faithfulness("b")).drop(columns=column))
    with pytest.raises(UserError, match=rf"faithfulness/b\.parquet: .*{column}.*dvc repro"):
        decided(WITH_CONTROLS)
    assert not paths.EXPLAINED.exists()
