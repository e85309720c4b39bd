"""Measure on held-out images whether a group predicts its concept better than its best member (claim C2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc.evaluation.conjunction import Gain, gain_over_best_member, random_partners
from falcon_dvc.evaluation.ground_truth import Attribute
from falcon_dvc.evaluation.statistics import mean_with_interval
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
    """Hold the data of images that took no part in the explanations.

    Attributes
    ----------
    attributes : a row for each image, a bool column for each (kind, value).
    activations : row-normalised features of the same images.
    thresholds : smallest activation at which each feature fires, on the probe images.
    partners : features that random groups may contain.
    weights : bootstrap samples of the images.
    """

    attributes: pd.DataFrame
    activations: np.ndarray
    thresholds: np.ndarray
    partners: np.ndarray
    weights: np.ndarray

    def shows(self, named: list[Attribute]) -> np.ndarray:
        """Find the images that have all these attributes.

        There are none if no attribute is named, or if an attribute occurs on no image.
        """
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
    """Add to each group what its first words name, and how well it and its best member predict this.

    All is measured on held-out images.

    Parameters
    ----------
    table : groups of two and more; `words`: kept words of each group, by rank.
    known : the attribute that each word names.
    """
    named = [_named_after(words.get(group, []), known) for group in table["group"]]
    table = table.assign(named_after=[" & ".join(value for _, value in attributes) for attributes in named])
    labels = np.array([heldout.shows(attributes) for attributes in named]).reshape(len(table), len(heldout.attributes))
    measured = labels.any(axis=1) & ~labels.all(axis=1)
    tables_of_sizes = [
        _of_size(rows, labels[rows.index].T, heldout, settings) for _, rows in table[measured].groupby("size")
    ]
    return (
        table.join(pd.concat(tables_of_sizes))
        if tables_of_sizes
        else table.assign(**dict.fromkeys(SELECTIVITY, np.nan))
    )


def _named_after(words: list[str], known: dict[str, Attribute]) -> list[Attribute]:
    """Return the attributes that the first two words name, if they differ in kind; else the first attribute."""
    attributes = [known[word] for word in words[:2] if word in known]
    return attributes[:1] + [other for other in attributes[1:] if other[0] != attributes[0][0]]


def _of_size(groups: pd.DataFrame, labels: np.ndarray, heldout: HeldOut, settings: AnalyseGroups) -> pd.DataFrame:
    """Compare groups of one size with their best members, and add a control.

    The control replaces the partners of the best member by random features. Label and best member stay. It tests
    whether the features that fire *together* with the member improve it more than random features. A random label
    would be a weaker control, because it has no signal to improve.
    """
    sets = np.array(member_lists(groups["members"]))
    own = _gain(sets, labels, heldout, settings)
    table = pd.DataFrame(
        {
            "selectivity": own.group,
            "best_member": [f"f{member}" for member in sets[np.arange(len(sets)), own.best]],
            "member_selectivity": own.member,
            **compared(own),
        },
        index=groups.index,
    )
    if heldout.partners.sum() < 2 * sets.shape[1] - 1:
        return table
    generator = np.random.default_rng([settings.seed, sets.shape[1]])
    random = random_partners(sets, own.best, heldout.partners, generator)
    control = compared(_gain(random, labels, heldout, settings))
    return table.assign(**{f"control_{column}": values for column, values in control.items()})


def _gain(sets: np.ndarray, labels: np.ndarray, heldout: HeldOut, settings: AnalyseGroups) -> Gain:
    return gain_over_best_member(
        heldout.activations, sets, heldout.thresholds, labels, heldout.weights, settings.confidence
    )


def compared(gain: Gain) -> dict[str, np.ndarray]:
    """Return the gain with its interval.

    A group beats its best member if the whole interval is above 0.
    """
    return {
        "gain": gain.group - gain.member,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "beats_best_member": gain.low > 0,
    }


def group_metrics(groups: pd.DataFrame, table: pd.DataFrame, settings: AnalyseGroups) -> dict:
    """Compute metrics by size: number of groups, lift, and what groups add to their members.

    Parameters
    ----------
    groups : all groups, single features too.
    table : groups of two and more, with the columns of `new_concepts` and, if measured, of `with_selectivity`.
    """
    sizes = {f"of_{size}": int(count) for size, count in groups["size"].value_counts().sort_index().items()}
    if table.empty:
        return {"groups": sizes}
    return {
        "groups": sizes,
        "median_support": float(table["support"].median()),
        "median_lift": float(table["lift"].median()),
        "median_lift_beyond_parts": float(table["lift_beyond"].median()),
        **{f"of_{size}": _added(groups_of_size, settings) for size, groups_of_size in table.groupby("size")},
        "of_all_sizes": _added(table, settings),
    }


def _added(groups: pd.DataFrame, settings: AnalyseGroups) -> dict:
    """Compute the shares of groups with a new concept and of groups that beat their best member, with controls."""
    added = beside_control("new_concept", "share", "has_new", groups, settings)
    added |= beside_control("new_first_concept", "share", "first_is_new", groups, settings)
    if "gain" not in groups:
        return added
    measured = int(groups["gain"].notna().sum())
    added |= {"measured": measured, "not_measured": len(groups) - measured}
    added |= beside_control("beats_best_member", "share", "beats_best_member", groups, settings)
    return added | beside_control("gain", "mean", "gain", groups, settings)


def beside_control(name: str, kind: str, column: str, groups: pd.DataFrame, settings: AnalyseGroups) -> dict:
    """Compute the mean of a column and of its control, as metrics, where they were measured.

    Parameters
    ----------
    name : key of the mean; that of the control is ``{name}_control``.
    kind : ``mean`` or ``share``.
    """
    measured = {name: groups[column], f"{name}_control": groups.get(f"control_{column}", groups[column][:0])}
    means = {key: mean_with_interval(values.dropna(), settings, kind) for key, values in measured.items()}
    return {key: mean for key, mean in means.items() if mean}
