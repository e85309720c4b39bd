"""Groups without a word, and constants of the contrast that leave them one."""

import pandas as pd
import pytest

from falcon_dvc.concepts.scoring.without_word import without_word
from tests.support.stage_params import params_of

GROUPS = pd.Series(["f0", "f1", "f2", "f3"])


@pytest.fixture
def table():
    """One group keeps a word, two lose theirs to the contrast, and one never had one."""
    rows = [("f0", True, 0.5, 0.1), ("f1", False, 0.5, 0.38), ("f1", False, 0.5, 0.5), ("f2", False, 0.5, 0.39)]
    return pd.DataFrame(rows, columns=["group", "kept", "score", "low_score"]).assign(kind="word", prior=0.1)


def settings(contrast):
    return params_of({"concepts": {"contrast": contrast, "gamma": 1.5}}).concepts


def test_reasons_are_counted_and_values_that_leave_a_word_are_proposed(table):
    assert without_word(GROUPS, table, settings("relative")) == {
        "without_word": {"by_contrast": 2, "by_captions": 1},
        "proposed": {"relative_cut": {"value": 0.8, "explained": 3}, "contrast_off": {"explained": 3}},
    }
    assert without_word(GROUPS, table, settings("released"))["proposed"]["low_cut"] == {"value": 0.5, "explained": 3}
    assert without_word(GROUPS, table, settings("graded"))["proposed"]["gamma"] == {"value": 0.2, "explained": 3}
    assert set(without_word(GROUPS, table, settings("paper"))["proposed"]) == {"contrast_off"}


def test_a_contrast_that_is_off_is_not_switched_off(table):
    assert "proposed" not in without_word(GROUPS, table, settings("off"))


def test_nothing_is_said_where_every_group_has_a_word(table):
    assert without_word(GROUPS[:1], table, settings("relative")) == {}
    assert without_word(GROUPS[3:], table, settings("relative")) == {
        "without_word": {"by_contrast": 0, "by_captions": 1}
    }
