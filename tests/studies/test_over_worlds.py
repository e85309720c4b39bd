"""Shares and differences over worlds: the world is the unit of the interval."""

import pandas as pd
import pytest
from worlds.over_worlds import difference, share


def test_a_share_over_worlds_is_of_all_items_and_its_interval_holds_it():
    found = share(pd.Series([8, 2]), pd.Series([10, 10]))
    assert found["share"] == 0.5 and found["of"] == 20 and found["worlds"] == 2
    assert found["interval_low"] < 0.3 and found["interval_high"] > 0.7, "two worlds apart: the interval reaches both"


def test_worlds_without_items_do_not_count_and_one_world_has_no_interval():
    assert share(pd.Series([1, 0]), pd.Series([2, 0])) == {"share": 0.5, "of": 2, "worlds": 1}
    assert share(pd.Series([0]), pd.Series([0])) == {"of": 0, "worlds": 0}


def test_a_difference_is_of_the_worlds_that_have_both():
    found = difference(pd.Series({"a": 0.9, "b": 0.8, "c": 0.7}), pd.Series({"a": 0.5, "b": 0.3}))
    assert found["difference"] == pytest.approx(0.45) and found["worlds"] == 2
    assert difference(pd.Series({"a": 0.9}), pd.Series({"b": 0.5})) == {}
    assert set(difference(pd.Series({"a": 0.9}), pd.Series({"a": 0.5}))) == {"difference", "worlds"}
