"""The contrasts (step 11): how words are ranked and removed by their scores on other crops.

A new rule is a function here and an entry of `CONTRASTS`. The params accept its name, the report gives its reason, and the
stage evaluate_concepts compares it with all others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

    from falcon_dvc.concepts.scoring.scores import ConceptScores

    Values = Float[np.ndarray, " entries"]
    Kept = Bool[np.ndarray, " entries"]


class Constants(Protocol):
    """The constants of the contrasts, as in the section concepts of params.yaml."""

    @property
    def low_cut(self) -> float: ...
    @property
    def relative_cut(self) -> float: ...
    @property
    def gamma(self) -> float: ...


Rule = Callable[["ConceptScores", Constants, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Contrast:
    """A rule that ranks words and removes some.

    Attributes
    ----------
    rule : gives the value that each entry is ranked by, and whether it is kept. Its arguments are the scores, the constants,
        and which entries are also concepts of the group's lowly activating crops.
    reason : why the rule removes a word, for people.
    """

    rule: Rule
    reason: str


def _off(scores: ConceptScores, constants: Constants, also_low: Kept) -> tuple[Values, Kept]:
    """Keep every concept."""
    return scores.score, np.ones(len(scores), dtype=bool)


def _paper(scores: ConceptScores, constants: Constants, also_low: Kept) -> tuple[Values, Kept]:
    """Drop what is also among the concepts extracted from the lowly activating crops (paper, Eq. 2)."""
    return scores.score, ~also_low


def _released(scores: ConceptScores, constants: Constants, also_low: Kept) -> tuple[Values, Kept]:
    """Drop from a low score of `low_cut` on (released code)."""
    return scores.score, scores.low < constants.low_cut


def _relative(scores: ConceptScores, constants: Constants, also_low: Kept) -> tuple[Values, Kept]:
    """Drop if the low score is at least `relative_cut` times the score."""
    return scores.score, scores.low < constants.relative_cut * scores.score


def _graded(scores: ConceptScores, constants: Constants, also_low: Kept) -> tuple[Values, Kept]:
    """Rank by ``score - gamma * low``; drop what is not above zero."""
    return _above(scores.score - constants.gamma * scores.low)


def _prior(scores: ConceptScores, constants: Constants, also_low: Kept) -> tuple[Values, Kept]:
    """Rank by ``score - prior``; drop what is not above zero."""
    return _above(scores.score - scores.prior)


def _both(scores: ConceptScores, constants: Constants, also_low: Kept) -> tuple[Values, Kept]:
    """Rank by ``score - max(gamma * low, prior)``; drop what is not above zero."""
    return _above(scores.score - np.maximum(constants.gamma * scores.low, scores.prior))


def _above(value: Values) -> tuple[Values, Kept]:
    return value, value > 0


CONTRASTS = {
    "off": Contrast(_off, ""),
    "paper": Contrast(_paper, "also a concept of the lowly activating images"),
    "released": Contrast(_released, "its low score reaches low_cut"),
    "relative": Contrast(_relative, "its low score is at least relative_cut times its score"),
    "graded": Contrast(_graded, "no higher than gamma times its score on the lowly activating images"),
    "prior": Contrast(_prior, "no higher than on random crops"),
    "both": Contrast(
        _both, "no higher than gamma times its score on the lowly activating images, or than on random crops"
    ),
}


def contrasted(scores: ConceptScores, kind: str, constants: Constants, also_low: Kept) -> tuple[Values, Kept]:
    """Give the value that each concept is ranked by, and whether it is kept.

    Parameters
    ----------
    kind : a key of `CONTRASTS`.
    also_low : entries that are among the concepts extracted from the group's lowly activating crops.
    """
    return CONTRASTS[kind].rule(scores, constants, also_low)
