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
    @property
    def further_cut(self) -> float: ...


Rule = Callable[["ConceptScores", Constants, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Contrast:
    """Hold a rule that ranks words and removes some of them.

    Attributes
    ----------
    rule : function that returns the value that each entry is ranked by, and whether it is kept. Its arguments are the
        scores, the constants, and a mask of the entries that are also concepts of the group's lowly activating crops.
    reason : why the rule removes a word, as text for the tables; names of constants in braces.
    keeps_first : whether the word and the noun phrase of the largest value stay in any case.
    """

    rule: Rule
    reason: str
    keeps_first: bool = False

    def why(self, constants: Constants) -> str:
        """Say why the rule removes a word, with the values of its constants."""
        names = ("low_cut", "relative_cut", "gamma", "further_cut")
        return self.reason.format(**{name: getattr(constants, name) for name in names})


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


def _combined(scores: ConceptScores, constants: Constants, also_low: Kept) -> tuple[Values, Kept]:
    """Rank as `_both`; drop concepts with a low score of at least `further_cut` times the score.

    The first concept stays: that look-alikes share the best one is no reason to describe the feature by a worse one.
    """
    value, _ = _both(scores, constants, also_low)
    return value, scores.low < constants.further_cut * scores.score


def _above(value: Values) -> tuple[Values, Kept]:
    return value, value > 0


LOOK_ALIKES = "on the look-alike images that do not fire the feature"
CONTRASTS = {
    "off": Contrast(_off, ""),
    "paper": Contrast(_paper, "it also describes the look-alike images that do not fire the feature"),
    "released": Contrast(_released, f"it scores {{low_cut:g}} or more {LOOK_ALIKES}"),
    "relative": Contrast(_relative, f"{LOOK_ALIKES}, it keeps {{relative_cut:g}} or more of its score"),
    "graded": Contrast(_graded, f"it scores no more than {{gamma:g}} times its score {LOOK_ALIKES}"),
    "prior": Contrast(_prior, "it scores no more than on random crops"),
    "both": Contrast(
        _both, f"it scores no more than on random crops, or than {{gamma:g}} times its score {LOOK_ALIKES}"
    ),
    "combined": Contrast(
        _combined,
        f"another word describes the feature better, and {LOOK_ALIKES}, it keeps {{further_cut:g}} or more of its score",
        keeps_first=True,
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
