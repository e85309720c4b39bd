"""Does a group predict its concept better than its best member, on held-out images (claim C2)?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc.evaluation.conjunction import Gain, gain_over_best_member, random_partners
from falcon_dvc.evaluation.ground_truth import Attribute
from falcon_dvc.members import member_lists

if TYPE_CHECKING:
    from falcon_dvc.params.schema import AnalyseGroups


SELECTIVITY = (
    "selectivity",
    "best_member",
    "member_selectivity",
    "gain",
    "gain_low",
    "gain_high",
    "beats_best_member",
)


@dataclass(frozen=True)
class HeldOut:
    """Images that took no part in the explanations.

    Attributes
    ----------
    attributes : a row for each image, a bool column for each (kind, value).
    activations : row-normalised features of the same images.
    thresholds : activation from which each feature fires, on the probe images.
    partners : which features random groups are made of.
    weights : bootstrap samples of the images.
    """

    attributes: pd.DataFrame
    activations: np.ndarray
    thresholds: np.ndarray
    partners: np.ndarray
    weights: np.ndarray

    def shows(self, named: list[Attribute]) -> np.ndarray:
        """Images that have all these attributes; none, if no attribute is named or no image has one of them."""
        nowhere = np.zeros(len(self.attributes), dtype=bool)
        having = [np.asarray(self.attributes.get(attribute, nowhere)) for attribute in named]
        return np.logical_and.reduce(having) if having else nowhere


def with_selectivity(
    table: pd.DataFrame,
    words: dict[str, list[str]],
    heldout: HeldOut,
    known: dict[str, Attribute],
    settings: AnalyseGroups,
) -> pd.DataFrame:
    """Beside each group: what its first words name, and how well it and its best member predict that on held-out images.

    Parameters
    ----------
    table : groups of two and more; `words`: those kept for each group, by rank.
    known : the attribute that each word names.
    """
    named = [_named_after(words.get(group, []), known) for group in table["group"]]
    table = table.assign(named_after=[" & ".join(value for _, value in some) for some in named])
    labels = np.array([heldout.shows(some) for some in named]).reshape(len(table), len(heldout.attributes))
    measured = labels.any(axis=1) & ~labels.all(axis=1)
    parts = [_of_size(part, labels[part.index].T, heldout, settings) for _, part in table[measured].groupby("size")]
    return table.join(pd.concat(parts)) if parts else table.assign(**dict.fromkeys(SELECTIVITY, np.nan))


def _named_after(words: list[str], known: dict[str, Attribute]) -> list[Attribute]:
    """What a group is held to see: the attributes that its first two words name if of different kinds, else the first."""
    found = [known[word] for word in words[:2] if word in known]
    return found[:1] + [other for other in found[1:] if other[0] != found[0][0]]


def _of_size(part: pd.DataFrame, labels: np.ndarray, heldout: HeldOut, settings: AnalyseGroups) -> pd.DataFrame:
    """Groups of one size against their best members; and, as a control, each best member with random partners against them.

    The control keeps the label and the member that already follows it, and asks whether the features that fire *together*
    with it sharpen it more than any other features would. A random label would ask less: it has no signal to sharpen.
    """
    sets = np.array(member_lists(part["members"]))
    own = _gain(sets, labels, heldout, settings)
    table = pd.DataFrame(
        {
            "selectivity": own.group,
            "best_member": [f"f{member}" for member in sets[np.arange(len(sets)), own.best]],
            "member_selectivity": own.member,
            **_compared(own),
        },
        index=part.index,
    )
    if heldout.partners.sum() < 2 * sets.shape[1] - 1:
        return table
    generator = np.random.default_rng([settings.seed, sets.shape[1]])
    random = random_partners(sets, own.best, heldout.partners, generator)
    control = _compared(_gain(random, labels, heldout, settings))
    return table.assign(**{f"control_{column}": values for column, values in control.items()})


def _gain(sets: np.ndarray, labels: np.ndarray, heldout: HeldOut, settings: AnalyseGroups) -> Gain:
    return gain_over_best_member(
        heldout.activations, sets, heldout.thresholds, labels, heldout.weights, settings.confidence
    )


def _compared(gain: Gain) -> dict[str, np.ndarray]:
    """The difference with its interval; a group beats its best member if all of the interval lies above 0."""
    return {
        "gain": gain.group - gain.member,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "beats_best_member": gain.low > 0,
    }
