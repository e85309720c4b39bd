"""Verdicts follow from intervals alone, and overlap decides nothing."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from falcon_dvc.claims.verdicts import Figure, at_least, below, exceeds, is_positive

FIGURES = st.lists(st.floats(-1, 1), min_size=3, max_size=3).map(
    lambda some: Figure(sorted(some)[1], min(some), max(some))
)


@given(FIGURES, st.floats(-1, 1))
def test_a_limit_inside_the_interval_leaves_it_undecided(figure, limit):
    assert below(figure, limit) == (
        "holds" if figure.high < limit else "does not hold" if figure.low >= limit else "undecided"
    )
    opposite = {"holds": "does not hold", "does not hold": "holds", "undecided": "undecided"}
    assert at_least(figure, limit) == opposite[below(figure, limit)]


@given(FIGURES, FIGURES)
def test_overlapping_intervals_decide_nothing(first, second):
    assume(first.value != second.value or first.value not in (0, 1))
    above, not_above = first.low > second.high, first.high <= second.low
    assert exceeds(first, second) == ("holds" if above else "does not hold" if not_above else "undecided")
    assert not (above and not_above)


@pytest.mark.parametrize("bound", [0.0, 1.0])
def test_two_equal_figures_at_a_bound_cannot_be_tested(bound):
    assert exceeds(Figure(bound, bound, bound), Figure(bound, bound, bound)) == "not testable"
    assert exceeds(Figure(0.5, 0.5, 0.5), Figure(0.5, 0.5, 0.5)) == "does not hold"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.2, "holds"),
        (-0.2, -0.01, "does not hold"),
        (-0.1, 0.1, "undecided"),
        (0.0, 0.1, "undecided"),
        (0.0, 0.0, "not testable"),
    ],
)
def test_a_difference_is_decided_by_its_whole_interval(low, high, verdict):
    assert is_positive(Figure((low + high) / 2, low, high)) == verdict


@given(FIGURES)
def test_a_difference_and_its_reverse_are_never_both_positive(figure):
    verdict, reverse = is_positive(figure), is_positive(turned(figure))
    opposite = {"holds": "does not hold", "does not hold": "holds"}
    assert reverse == opposite.get(verdict, verdict)
    assert (verdict == "holds") == (figure.low > 0)


def test_examples():
    assert below(Figure(0.1, 0.05, 0.15), 0.2) == "holds"
    assert at_least(Figure(0.9, 0.88, 0.93), 0.9) == "undecided"
    assert exceeds(Figure(0.9, 0.88, 0.93), Figure(0.5, 0.4, 0.6)) == "holds"


def turned(figure):
    return Figure(-figure.value, -figure.high, -figure.low)


@given(FIGURES, FIGURES)
def test_of_two_figures_at_most_one_exceeds_and_turned_around_it_is_exceeded(first, second):
    assume(first.value != second.value)
    pair = exceeds(first, second), exceeds(second, first)
    assert pair != ("holds", "holds") and ("holds" not in pair or "does not hold" in pair)
    assert exceeds(turned(second), turned(first)) == pair[0]
    limit = Figure(second.low, second.low, second.low)
    assert (exceeds(limit, first) == "holds") == (below(first, second.low) == "holds")
