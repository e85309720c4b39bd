"""Sets of words against all attributes that a feature follows: each counts once, and a word that names none is wrong."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.evaluation.ground_truth import Judge
from falcon_dvc.evaluation.set_truth import agreement, followed_attributes, judged_sets, named_attributes, set_metrics

BOAT, RED, SAND = ("object", "boat"), ("colour", "red"), ("background", "sand")
NAMES = {BOAT: {"boat", "ship"}, RED: {"red"}, SAND: {"sand"}}
SETTINGS = SimpleNamespace(seed=0, bootstrap=50, confidence=0.95)


@pytest.fixture
def judge():
    """Feature 0 follows boats and red, feature 2 boats and no sand, feature 3 nothing."""
    rng = np.random.default_rng(0)
    has = rng.random((400, 3)) < 0.4
    noise = 0.1 * rng.normal(size=(400, 4))
    activations = (
        np.stack([has[:, 0] + has[:, 1], has[:, 2], 1.0 * has[:, 0] - has[:, 2], 0 * has[:, 0]], axis=1) + noise
    )
    truth = pd.DataFrame({"group": ["f0", "f2", "f3"]})
    return Judge(truth, activations, pd.DataFrame(dict(zip(NAMES, has.T, strict=True))), NAMES)


def test_a_feature_follows_every_attribute_above_the_least_correlation(judge):
    found = followed_attributes(judge, 0.3)
    assert found["f0"] == {("raises", BOAT), ("raises", RED)} and found["f3"] == frozenset()
    assert found["f2"] == {("raises", BOAT), ("lowers", SAND)}


def test_synonyms_count_once_and_a_word_that_names_nothing_is_wrong():
    attribute_of = {"boat": BOAT, "ship": BOAT, "red": RED}
    truth = frozenset({("raises", BOAT)})
    right = named_attributes(["boat", "ship"], [], attribute_of)
    assert agreement(right, truth) == {"f1": 1, "exact": 1, "precision": 1, "recall": 1}
    wrong = agreement(named_attributes(["boat", "table"], [], attribute_of), truth)
    assert (wrong["exact"], wrong["precision"], wrong["recall"]) == (0, 0.5, 1) and wrong["f1"] == pytest.approx(2 / 3)
    assert agreement(named_attributes([], ["boat"], attribute_of), truth)["f1"] == 0


@given(st.frozensets(st.integers(0, 5)), st.frozensets(st.integers(0, 5)))
def test_agreement_is_symmetric_and_1_for_equal_sets_alone(named, truth):
    found, swapped = agreement(named, truth), agreement(truth, named)
    assert found["f1"] == swapped["f1"] and found["precision"] == swapped["recall"]
    assert (found["f1"] == 1) == (named == truth) == bool(found["exact"])


def test_sets_are_judged_beside_the_ranking_and_permuted_words(judge):
    sets = {"f0": (["ship", "red"], []), "f2": (["boat"], ["sand"]), "f3": ([], [])}
    ranked = {"f0": ["boat", "sand"], "f2": ["sand", "boat"]}
    table = judged_sets(judge, sets, ranked, 0.3, np.random.default_rng(0))
    assert table["attributes"].tolist() == ["boat; red", "boat", ""] and table["not_attributes"].tolist() == [
        "",
        "sand",
        "",
    ]
    assert table["set_f1"].tolist() == table["signed_set_f1"].tolist() == [1, 1, 1]
    assert table["first_f1"].tolist() == [pytest.approx(2 / 3), 0, 1] and table["first_five_recall"].tolist() == [
        0.5,
        1,
        1,
    ]
    assert table["permuted_words_exact"].sum() == 0
    found = set_metrics(table, SETTINGS)
    assert found["set"]["f1"]["mean"] == 1 and found["first"]["set_less_this_f1"]["difference"] == pytest.approx(4 / 9)
    assert "set_less_this_f1" not in found["set"] and set_metrics(table.head(0), SETTINGS) == {"features": 0}
