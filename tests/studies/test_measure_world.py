"""The tables of a world: a row for each feature and a column for each method, and counts of what is explained."""

from typing import get_args

import numpy as np
import pandas as pd
import pytest
from worlds import variations
from worlds.measure_world import _add_variations, _explained, _features, _methods
from worlds.worlds import Variation, params_of, read_world

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_array, write_table
from falcon_dvc.evaluation.ground_truth import Judge
from falcon_dvc.evaluation.selectivity import TIE
from tests.support.paths import ROOT


def judged(first, clear, beyond=0.4):
    """Features, some with a right first word; the truth of the others correlates by `beyond` more than the first word."""
    right = np.array(first)
    return pd.DataFrame(
        {"group": [f"f{row}" for row in range(len(first))], "kind": "object", "value": "boat", "clear": clear}
        | {"hit_first": right, "hit_five": True, "rank_of_truth": np.where(right, 1.0, np.inf)}
        | {"pearson": 0.5, "auprc": 0.5, "auc": 0.5, "mad": 0.5}
        | {"correlation": np.where(right, 0.5, 0.5 + beyond)}
    )


COMPARED = {
    "supervised": {"falcon": judged([True, False], [True, False]), "rival": judged([True, True], [True, False])},
    "untrained_1": {"falcon": judged([False], [False])},
}


def test_features_have_a_row_each_and_a_method_that_was_not_measured_is_empty():
    table = _features(COMPARED)
    assert list(table["falcon"]) == [1, 0, 0] and list(table["clear"]) == [1, 0, 0]
    assert list(table["rival"][:2]) == [1, 1] and np.isnan(table["rival"][2])


def test_methods_are_counted_over_clear_and_over_every_feature():
    table = _methods(COMPARED).set_index(["encoder", "method", "scope"])
    assert list(table.loc[("supervised", "falcon", "every"), ["features", "first_right", "truth_listed"]]) == [2, 1, 1]
    assert table.loc[("supervised", "falcon", "clear"), "features"] == 1
    assert ("untrained_1", "falcon", "clear") not in table.index


@pytest.mark.parametrize(("beyond", "count"), [(TIE - 0.01, 2), (TIE + 0.01, 1)])
def test_a_first_word_that_follows_a_feature_as_well_as_the_truth_counts_as_tied(beyond, count):
    table = _methods({"supervised": {"falcon": judged([True, False], True, beyond)}})
    assert list(table["first_or_tie"]) == [count, count] and list(table["first_right"]) == [1, 1]


@pytest.fixture
def params(monkeypatch):
    monkeypatch.chdir(ROOT / "studies")
    return params_of(read_world("r111"))


def test_features_without_enough_images_count_as_not_explained(params, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_array(paths.groups("a") / "activations.npy", np.zeros((3, 10), dtype=np.float32))
    rows = {"encoder": "a", "kind": ["feature", "feature", "class set"], "group": ["f0", "f3", "boat"]}
    rows |= {"explained": [True, False, True], "permuted_explained": False, "p_value": [0.01, 0.05, 0.2]}
    write_table(paths.EXPLAINED, pd.DataFrame(rows | {"pearson": [0.2, 0.4, 0.9]}))
    table = _explained(params).set_index("kind")
    assert list(table.loc["feature", ["items", "explained", "uncorrected"]]) == [10, 1, 2]
    assert list(table.loc["class set", ["items", "explained", "uncorrected"]]) == [1, 1, 0]
    assert table.loc["feature", "median_pearson"] == pytest.approx(0.3)


def test_every_variation_has_settings_and_is_a_method_of_the_trained_encoders_only(params, monkeypatch):
    assert set(get_args(Variation)) == set(variations.SETTINGS) | set(variations.CAPTIONS)
    asked = []

    def words_of(variation, params, encoders):
        asked.append((variation, list(encoders)))
        return {encoder: {"f0": ["boat"]} for encoder in encoders}

    monkeypatch.setattr(variations, "words_of", words_of)
    monkeypatch.setattr(Judge, "judged", lambda self, words: words)
    compared = {name: {} for name in params.encoders}
    judges = dict.fromkeys(params.encoders, Judge(*[pd.DataFrame()] * 4))
    _add_variations(compared, judges, params, ["released"])
    assert asked == [("released", ["supervised", "simclr"])]
    assert set(compared["simclr"]) == {"released"} and not compared["untrained_1"]
