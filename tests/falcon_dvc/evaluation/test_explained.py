"""What is explained: features beyond the controls' chance, at a false discovery rate."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from falcon_dvc.evaluation.explained import controls_of, decided, enough, shares

SETTINGS = SimpleNamespace(seed=0, bootstrap=200, confidence=0.95, fdr=0.05)


def rows(excess, kind="feature", permuted=-1.0):
    return pd.DataFrame({"kind": kind, "excess": excess, "permuted_excess": permuted, "pearson": 0.5})


def test_a_control_is_judged_by_the_other_controls_of_its_encoders():
    of = {"net": (), "other": (), "first": ("net",), "second": ("net", "other"), "third": ("other",)}
    assert controls_of("net", of) == ["first", "second"]
    assert controls_of("first", of) == ["second"]
    assert controls_of("second", of) == ["first", "third"]
    assert controls_of("other", of) == ["second", "third"]
    assert controls_of("net", {"net": ()}) == []


@pytest.mark.parametrize("seed", range(5))
def test_what_follows_its_word_is_explained_and_what_does_not_is_not(seed):
    rng = np.random.default_rng(seed)
    null = rows(rng.normal(size=128))
    found = decided(rows(np.concatenate([rng.normal(size=60) + 6, rng.normal(size=60)])), null, 0.05)
    assert found["explained"][:60].all() and found["explained"][60:].mean() <= 0.1
    assert not found["permuted_explained"].any()
    assert decided(null, rows(rng.normal(size=128)), 0.05)["explained"].mean() <= 0.02


def test_groups_are_judged_by_groups_if_there_are_enough():
    table, features = rows([0.5] * 30, "group"), rows(np.zeros(100))
    many, few = (pd.concat([features, rows(np.ones(count), "group")]) for count in (40, 5))
    assert not decided(table, many, 0.05)["explained"].any()
    assert decided(table, few, 0.05)["explained"].all()


def test_features_without_enough_images_count_as_not_explained():
    table = decided(pd.concat([rows([9.0] * 30), rows([9.0] * 5, "class set")]), rows(np.zeros(100)), 0.05)
    found = shares(table, 60, SETTINGS)
    assert (
        found["feature"]["share"] == 0.5
        and found["feature"]["uncorrected"]["share"] == 0.5
        and found["feature"]["measured"] == 30
    )
    assert found["class_set"]["share"] == 1.0 and found["class_set"]["measured"] == 5


def test_too_small_a_control_decides_nothing():
    groups = rows(np.zeros(100), "group")
    assert not enough(pd.concat([rows(np.zeros(18)), groups]), 0.05) and enough(rows(np.zeros(19)), 0.05)
    assert not decided(rows([9.0] * 5), rows(np.zeros(18)), 0.05)["explained"].any()


def test_without_a_control_only_the_number_is_given():
    assert shares(rows([1.0, 2.0]), 2, SETTINGS) == {"feature": {"measured": 2, "median_pearson": 0.5}}
