"""Numbers and texts for people."""

import pytest

from stages.reporting.activity import Histogram
from stages.reporting.markup import along, bars, number, readable, style


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


def test_bars_divide_at_the_threshold():
    drawn = bars(Histogram([8, 0, 4, 2], 0.0, 4.0, 2.0, False))
    assert drawn.below.count("M") == 1 and drawn.above.count("M") == 2 and drawn.threshold == "50"
    assert bars(Histogram([8, 4], 0.0, 1.0, None, False)).threshold is None


def test_an_empty_histogram_is_no_error():
    assert bars(Histogram([0, 0], 0.0, 1.0, 0.5, False)).below == ""


def test_style_has_a_place_for_every_tile():
    text = style(5)
    assert "HEAT_COLOURS" not in text and ".x0 {" in text and ".x4 {" in text and ".x5" not in text and ".w5 {" in text
