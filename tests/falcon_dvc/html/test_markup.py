"""Numbers and texts for people."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.html.histograms import Histogram
from falcon_dvc.html.markup import along, bars, number, readable


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


SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
NUMBERS = (
    st.floats(-1e9, 1e9) | st.integers(-(10**9), 10**9) | st.sampled_from([0.0, -0.0, 999.96, -9.96, 0.00996, 9e-4])
)


def read_back(shown: str) -> float:
    """The number that a reader sees."""
    digits, _, power = shown.replace("\u202f", "").replace("\u2212", "-").partition("·10")
    return float(digits) * 10.0 ** int(power.translate(SUPERSCRIPTS) or "0")


@given(NUMBERS)
def test_a_number_is_read_back_as_what_it_was_to_the_digits_shown(value):
    shown = number(value)
    steps = [(1000, 0.5), (10, 0.05), (0.005, 0.005), (0.001, 0.0005), (0, abs(value) / 2)]
    error = next(error for least, error in steps if abs(value) >= least)
    assert abs(read_back(shown) - value) <= error * (1 + 1e-9)
    assert ("\u202f" in shown) == (abs(read_back(shown)) >= 1000), "thousands are divided"
    assert shown.startswith("\u2212") == (value < 0), "zero has no sign"
    assert number(-abs(value)) == ("\u2212" if value else "") + number(abs(value))


@given(st.text(st.sampled_from("ab \u00a0\u2028\n\0\x1b\u202eé\U0001f6a4"), max_size=20), st.integers(1, 12))
def test_readable_text_is_short_and_stays_as_it_is(text, longest):
    line = readable(text, longest)
    assert len(line) <= longest and readable(line, longest) == line
    assert not {unicodedata.category(letter) for letter in line} & {"Cc", "Zl", "Zp"} and "  " not in line
    assert readable(f" {text}\n", 99).split() == readable(text, 99).split()


@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(0.1, 100))
def test_places_on_a_scale_keep_the_order(first, second, axis):
    places = [float(along(value, axis)) for value in sorted([first, second])]
    assert 0 <= places[0] <= places[1] <= 100
    assert "-" not in along(-0.0, axis) and along(axis, axis) == "100"


@given(st.lists(st.integers(0, 20), min_size=1, max_size=12), st.none() | st.floats(-1, 5))
def test_every_bin_that_holds_something_is_a_bar_of_one_side(counts, threshold):
    drawn = bars(Histogram(counts, 0.0, 4.0, threshold, False))
    assert drawn.below.count("M") + drawn.above.count("M") == sum(count > 0 for count in counts)
    assert threshold is not None or not drawn.above
    assert (drawn.threshold is None) == (threshold is None)
