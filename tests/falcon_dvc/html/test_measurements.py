"""Metrics files as tables."""

import math

from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.html.measurements import Measurement, Section, at, in_words, tabulate


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


KEYS = st.sampled_from(["share", "x", "x_low", "x_high", "r2", "interval_low", "interval_high", "n"])
CONTENT = st.recursive(
    st.integers(-9, 9) | st.floats(0, 1) | st.sampled_from([math.nan, math.inf, None, "text", True]),
    lambda inner: st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
).filter(lambda content: isinstance(content, dict))


def finite_numbers(content):
    """All numbers of a metrics file, and the paths that lead to them."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{path}", number) for path, number in finite_numbers(value))
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield key, value


@given(CONTENT)
def test_every_number_of_a_metrics_file_stands_in_the_table_once(content):
    table = tabulate("", "", {"a": content, "b": None})
    cells = [cell for section in table.sections for _, (cell,) in section.rows if cell]
    shown = [some for cell in cells for some in (cell.value, cell.low, cell.high) if some is not None]
    assert sorted(shown) == sorted(value for _, value in finite_numbers(content))


@given(CONTENT)
def test_a_number_is_found_where_its_path_leads(content):
    for path, value in finite_numbers(content):
        if not path.endswith(("_low", "_high")):
            found = at(content, path)
            assert found is not None and found.value == value
    assert at(content, "absent") is None and at(content, "absent.n") is None


@given(st.dictionaries(KEYS, st.integers(0, 9), min_size=1), st.dictionaries(KEYS, st.integers(0, 9), min_size=1))
def test_the_order_of_the_columns_moves_no_number(first, second):
    both, turned = (tabulate("", "", files) for files in ({"a": first, "b": second}, {"b": second, "a": first}))
    rows, back = (dict(table.sections[0].rows) for table in (both, turned))
    assert rows == {label: cells[::-1] for label, cells in back.items()}
    assert not any("_" in label for label in rows) and set(map(in_words, rows)) == set(rows)
