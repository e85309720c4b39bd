"""Rank and remove words by their scores on other crops: the contrasts (step 11).

To add a rule, write a function here and an entry of `CONTRASTS`. The params then accept its name, and the report gives
its reason. The stage `evaluate_concepts` compares it with all others.
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
    """Describe the constants of the contrasts, as in the section `concepts` of params.yaml."""

    @property
    def low_cut(self) -> float: ...
    @property
    def relative_cut(self) -> float: ...
    @property
    def gamma(self) -> float: ...


Rule = Callable[["ConceptScores", Constants, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Contrast:
    """Hold a rule that ranks words and removes some of them.

    Attributes
    ----------
    rule : function that returns the value that each entry is ranked by, and whether it is kept. Its arguments are the
        scores, the constants, and a mask of the entries that are also concepts of the group's lowly activating crops.
    reason : why the rule removes a word, as text for the tables.
    """

    rule: Rule
    reason: str


def _off(scores: ConceptScores, constants: Constants, also_low: Kept) -> tuple[Values, Kept]:
    """Keep every concept."""
    return scores.score, np.ones(len(scores), dtype=bool)


def _paper(scores: ConceptScores, constants: Constants, also_low: Kept) -> tuple[Values, Kept]:
    """Drop concepts that are also extracted from the lowly activating crops (paper, Eq. 2)."""
    return scores.score, ~also_low


def _released(scores: ConceptScores, constants: Constants, also_low: Kept) -> tuple[Values, Kept]:
    """Drop concepts with a low score of at least `low_cut` (released code)."""
    return scores.score, scores.low < constants.low_cut


def _relative(scores: ConceptScores, constants: Constants, also_low: Kept) -> tuple[Values, Kept]:
    """Drop concepts with a low score of at least `relative_cut` times the score."""
    return scores.score, scores.low < constants.relative_cut * scores.score


def _graded(scores: ConceptScores, constants: Constants, also_low: Kept) -> tuple[Values, Kept]:
    """Rank by ``score - gamma * low``; drop values that are not above zero."""
    return _above(scores.score - constants.gamma * scores.low)


def _prior(scores: ConceptScores, constants: Constants, also_low: Kept) -> tuple[Values, Kept]:
    """Rank by ``score - prior``; drop values that are not above zero."""
    return _above(scores.score - scores.prior)


def _both(scores: ConceptScores, constants: Constants, also_low: Kept) -> tuple[Values, Kept]:
    """Rank by ``score - max(gamma * low, prior)``; drop values that are not above zero."""
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
    """Compute the value that each concept is ranked by, and whether it is kept.

    Parameters
    ----------
    kind : a key of `CONTRASTS`.
    also_low : entries that are among the concepts extracted from the group's lowly activating crops.
    """
    return CONTRASTS[kind].rule(scores, constants, also_low)
