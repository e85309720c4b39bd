"""Decide on claims by confidence intervals.

A claim is undecided if the intervals do not decide it.
"""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["holds", "does not hold", "undecided", "not testable"]
BOUNDS = 0.0, 1.0  # of a share
CLAIMS = {
    "M": 'Not a claim of the paper: the measure of "explained" finds what is there, and nothing where nothing is.',
    "C1": "Less than 0.2 of the space can be explained by single features.",
    "C2": "Groups of features are more interpretable than single features, and have concepts of higher order.",
    "C3": "Lowly activating images remove spurious concepts.",
    "C4": "The concepts explain failures of a downstream task, and help to repair them.",
    "C5": "Concepts carry over to an unseen space by a linear map.",
    "R": "Not a claim of the paper: first words are right, and more often than those of other methods.",
}


@dataclass(frozen=True)
class Figure:
    """Hold a measured number with its confidence interval.

    Without an interval, `low` and `high` are the number itself.
    """

    value: float
    low: float
    high: float


def below(figure: Figure, limit: float) -> Verdict:
    """Decide whether a figure lies below a limit, with its whole interval."""
    if figure.high < limit:
        return "holds"
    return "does not hold" if figure.low >= limit else "undecided"


def at_least(figure: Figure, limit: float) -> Verdict:
    """Decide whether a figure reaches a limit, with its whole interval."""
    if figure.low >= limit:
        return "holds"
    return "does not hold" if figure.high < limit else "undecided"


def exceeds(figure: Figure, other: Figure) -> Verdict:
    """Decide whether one share exceeds another, with intervals that do not overlap.

    If both are equal at a bound of shares, neither could exceed the other: this is not testable.
    """
    if figure.value == other.value and figure.value in BOUNDS:
        return "not testable"
    if figure.low > other.high:
        return "holds"
    return "does not hold" if figure.high <= other.low else "undecided"


def is_positive(difference: Figure) -> Verdict:
    """Decide whether a difference on the same items is positive, with its whole interval.

    If it is 0 on every item, the two cannot be told apart: this is not testable.
    """
    if difference.low == difference.value == difference.high == 0:
        return "not testable"
    if difference.low > 0:
        return "holds"
    return "does not hold" if difference.high < 0 else "undecided"
