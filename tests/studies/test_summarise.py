"""Shares over worlds from counts, and plants: what is removed is counted among what was listed."""

import pandas as pd
import pytest
from worlds.summarise import SAME_WORLDS, _plants, _right, _share, _summary, _uses


def test_a_share_over_worlds_is_of_all_items_and_its_interval_holds_it():
    found = _share(pd.Series([8, 2]), pd.Series([10, 10]))
    assert found["share"] == 0.5 and found["of"] == 20 and found["worlds"] == 2
    assert found["interval_low"] < 0.3 and found["interval_high"] > 0.7, "two worlds apart: the interval reaches both"


def test_worlds_without_items_do_not_count():
    assert _share(pd.Series([1, 0]), pd.Series([2, 0]))["worlds"] == 1


def plants(rows):
    columns = ["world", "strength", "encoder", "feature", "low_match", "contrast"]
    columns += ["true_listed", "spurious_listed", "true_first", "spurious_first"]
    return pd.DataFrame([("w", 0.9, "e", *row) for row in rows], columns=columns)


def test_removal_counts_cases_that_list_the_word_without_contrast():
    found = _plants(
        plants(
            [
                ("f0", "distinct", "falcon_off", True, True, True, False),
                ("f1", "distinct", "falcon_off", True, True, False, True),
                ("f2", "distinct", "falcon_off", False, False, False, False),
                ("f0", "distinct", "falcon_paper", True, False, True, False),
                ("f1", "distinct", "falcon_paper", False, True, False, True),
                ("f2", "distinct", "falcon_paper", False, False, False, False),
            ]
        )
    )["falcon_paper_distinct"]
    assert found["cases"] == 3 and found["spurious_listed_without"] == 2
    assert found["spurious_removed"]["share"] == 0.5 and found["spurious_removed"]["of"] == 2
    assert found["true_lost"]["share"] == 0.5


def test_cases_are_joined_by_key_and_not_by_row():
    rows = plants(
        [
            (
                f"f{case}",
                "distinct",
                contrast,
                True,
                (case % 2 == 0) if contrast == "falcon_off" else False,
                True,
                False,
            )
            for case in range(6)
            for contrast in ("falcon_off", "falcon_paper")
        ]
    )
    assert _plants(rows.sample(frac=1, random_state=0)) == _plants(rows)


def test_the_same_case_twice_is_refused():
    rows = plants([("f0", "distinct", "falcon_off", True, True, True, False)] * 2)
    with pytest.raises(pd.errors.MergeError):
        _plants(rows)


def test_encoders_are_pooled_by_their_features_not_by_their_shares():
    methods = pd.DataFrame(
        [
            ("w", "supervised", "default", "falcon", "all", 90, 90, 90, 1.0, 1.0, 1.0, 1.0),
            ("w", "simclr", "default", "falcon", "all", 10, 0, 0, 0.0, 0.0, 0.0, 0.0),
            ("w", "untrained", "default", "falcon", "all", 10, 0, 0, 0.0, 0.0, 0.0, 0.0),
        ],
        columns=[
            "world",
            "encoder",
            "variation",
            "method",
            "kind",
            "features",
            "first_right",
            "five_right",
            "pearson",
            "auprc",
            "auc",
            "mad",
        ],
    )
    explained = pd.DataFrame(
        [("supervised", 1, 4, 2, 1, 8, 4, 0)],
        columns=[
            "encoder",
            "size",
            "explained",
            "interpretable",
            "released_rule",
            "features",
            "shuffled",
            "shuffled_interpretable",
        ],
    ).assign(world="w")
    found = _summary(methods, explained, pd.DataFrame(), uses([]))
    assert found["right"]["both"]["default"]["falcon"]["first"]["share"] == 0.9
    assert found["right"]["both"]["default"]["falcon"]["pearson"]["mean"] == 0.9
    assert found["explainability"]["supervised"]["of_the_space"]["interpretable"]["share"] == 0.25


def uses(rows):
    return pd.DataFrame(rows, columns=["metrics", "key", "value"])


def test_uses_are_means_over_worlds_nested_as_in_the_worlds_own_metrics():
    rows = [("groups_simclr", "of_2.new_concept.share", value) for value in (0.2, 0.4)]
    rows += [("transfer_a_to_b", "r2.median", 0.5), ("transfer_a_to_b", "ridge", 0.001)]
    found = _uses(uses(rows))
    assert found["groups_simclr"]["of_2"]["new_concept"]["share"] == pytest.approx(0.3)
    assert found["groups_simclr"]["of_2"]["new_concept"]["worlds"] == 2
    assert found["transfer_a_to_b"] == {
        "r2": {"median": 0.5, "interval_low": 0.5, "interval_high": 0.5, "worlds": 1}
    }, "what is no result (a chosen lambda) is left out"


def test_variations_are_compared_with_the_default_of_the_same_worlds():
    row = {"method": "falcon", "kind": "all", "features": 10, "five_right": 10, "pearson": 0.5, "auprc": 0.5}
    row |= {"auc": 0.5, "mad": 0.5}
    methods = pd.DataFrame(
        [
            {**row, "world": "a", "variation": "default", "first_right": 9},
            {**row, "world": "b", "variation": "default", "first_right": 3},
            {**row, "world": "a", "variation": "whole_images", "first_right": 5},
        ]
    )
    found = _right(methods)
    assert found["default"]["falcon"]["first"]["share"] == 0.6
    assert found[SAME_WORLDS]["falcon"]["first"]["share"] == 0.9
    assert found["whole_images"]["falcon"]["first"]["share"] == 0.5
