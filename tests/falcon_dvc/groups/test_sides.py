"""The sides of directions: named by the number of the feature, linked to each other, counted."""

import pandas as pd

from falcon_dvc.groups.sides import count_sides, with_sides

GROUPS = pd.DataFrame({"group": ["f0", "f1", "f4", "g1"], "members": ["0", "1", "4", "0 4"], "size": [1, 1, 1, 2]})


def test_each_feature_has_a_side_and_an_opposite_and_a_group_the_sides_of_its_members():
    found = with_sides(GROUPS, 6)  # of 3 directions
    assert found["side"].tolist() == ["positive", "positive", "negative", "positive negative"]
    assert found["opposite"].tolist() == ["f3", "f4", "f1", ""]


def test_explained_sides_are_counted():
    counts = count_sides(with_sides(GROUPS, 6))
    assert counts == {"positive_sides": 2, "negative_sides": 1, "directions_with_both": 1} and count_sides(GROUPS) == {}
