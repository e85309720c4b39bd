"""Metrics files as tables."""

from stages.reporting.measurements import Measurement, Section, at, tabulate


def test_intervals_join_the_number_they_belong_to():
    content = {
        "score": 0.5,
        "score_low": 0.4,
        "score_high": 0.6,
        "top1": 0.8,
        "interval_low": 0.7,
        "interval_high": 0.9,
        "low_score": 0.1,
    }
    (section,) = tabulate("", "", {"a": content}).sections
    assert section.rows == [
        ("score", [Measurement(0.5, 0.4, 0.6)]),
        ("top1", [Measurement(0.8, 0.7, 0.9)]),
        ("low score", [Measurement(0.1)]),
    ]


def test_half_an_interval_is_a_number_of_its_own():
    (section,) = tabulate("", "", {"a": {"x": 1, "x_low": 0}}).sections
    assert [label for label, _ in section.rows] == ["x", "x low"]


def test_columns_are_joined_by_key_and_holes_stay():
    table = tabulate("", "", {"a": {"x": 1}, "b": {"y": {"u": 2, "v": 3}}, "c": None})
    assert table.columns == ["a", "b"] and table.missing == ["c"]
    assert table.sections == [
        Section("", [("x", [Measurement(1), None])]),
        Section("y", [("u", [None, Measurement(2)]), ("v", [None, Measurement(3)])]),
    ]


def test_a_mapping_of_one_number_joins_the_level_above():
    content = {"single": {"n": 3, "share": {"share": 0.5, "interval_low": 0.4, "interval_high": 0.6}}}
    (section,) = tabulate("", "", {"a": content}).sections
    assert section == Section("single", [("n", [Measurement(3)]), ("share share", [Measurement(0.5, 0.4, 0.6)])])


def test_what_is_no_finite_number_is_left_out():
    assert tabulate("", "", {"a": {"x": float("nan"), "y": "<b>", "z": True, "w": [1]}}).sections == []


def test_at_finds_a_number_or_nothing():
    content = {"single": {"share": 0.5, "interval_low": 0.4, "interval_high": 0.6}}
    assert at(content, "single.share") == Measurement(0.5, 0.4, 0.6)
    assert at(content, "single.share.deeper") is None and at(content, "other.share") is None and at(None, "x") is None
