"""Numbers and texts for people."""

import pytest

from stages.reporting.markup import along, number, readable


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (4000, "4\u202f000"),
        (0.001, "0.001"),
        (0.0049, "0.005"),
        (0.5, "0.50"),
        (-0.25, "\u22120.25"),
        (12.34, "12.3"),
        (1.2e-9, "1·10⁻⁹"),
        (12345.6, "12\u202f346"),
    ],
)
def test_numbers(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_no_number_is_a_dash(value):
    assert number(value) == "–"


def test_text_is_one_line_without_control_characters():
    assert readable("a\r\n\x00b\u2028c\x1b[31m") == "a b c [31m"
    assert len(readable("x" * 10_000)) == 240 and readable("x" * 10_000).endswith("…")


@pytest.mark.parametrize(
    ("value", "place"), [(0.5, "50"), (2.0, "100"), (-1.0, "0"), (float("nan"), "0"), (1 / 3, "33.3")]
)
def test_places_on_the_scale_stay_on_it(value, place):
    assert along(value, 1.0) == place
