"""What groups add to single features (C2): concepts that no member has alone, and whether a group beats its best member."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table, write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.concepts.words.listing import in_words, listed_words
from falcon_dvc.evaluation.conjunction import Gain, bootstrap_weights, gain_over_best_member, random_partners
from falcon_dvc.evaluation.ground_truth import Attribute, heldout_attributes, names_of_attributes
from falcon_dvc.evaluation.statistics import bootstrap_interval
from falcon_dvc.groups.activations import row_normalised

if TYPE_CHECKING:
    from falcon_dvc.params.schema import AnalyseGroups, Params

SELECTIVITY = (
    "selectivity",
    "best_member",
    "member_selectivity",
    "gain",
    "gain_low",
    "gain_high",
    "beats_best_member",
)


def run(params: Params, name: str) -> StageSummary:
    """Write the table of groups of two and more of the encoder `name`, and their metrics.

    Held-out selectivity needs images with known attributes: a run without a rendered world leaves it out.
    """
    groups = read_table(paths.groups(name) / "groups.parquet")
    concepts = read_table(paths.concepts(name) / "concepts.parquet")
    larger, words = groups[groups["size"] > 1].reset_index(drop=True), listed_words(concepts)
    table = larger.assign(words=larger["group"].map(in_words(concepts)).fillna(""), **_new_concepts(larger, words))
    if params.worlds:
        table = _with_selectivity(table, groups, words, params, name)
    summary = _summary(name, table)
    write_json(paths.metrics(f"groups_{name}"), {**_metrics(groups, table, params.analyse_groups), **summary.metrics})
    new_words = table["new_words"].map("; ".join)
    write_table(paths.table(f"{name}_groups"), table.assign(new_words=new_words))
    return summary


def _summary(name: str, table: pd.DataFrame) -> StageSummary:
    """Groups without a gain could not be compared with their members."""
    unmeasured = int(table["gain"].isna().sum()) if "gain" in table else 0
    reason = "whose words name no attribute that some held-out images show"
    return StageSummary(
        read={"groups": len(table)},
        dropped={"groups": {reason: unmeasured}},
        wrote={f"rows to {paths.table(f'{name}_groups')}": len(table)},
    )


# ---- Concepts of higher order


def _new_concepts(larger: pd.DataFrame, words: dict[str, list[str]]) -> dict[str, list]:
    """Words of each group that no member has alone; whether there is one, and whether the first is one; each with a control.

    A single feature has no concept of higher order. So the share of the members that have a word which no other member
    has is what noise, at the ends of the lists, makes of it.
    """
    alone = [[words.get(f"f{member}", []) for member in text.split()] for text in larger["members"]]
    own = [words.get(group, []) for group in larger["group"]]
    return {
        "new_words": [_only_in(some, lists) for some, lists in zip(own, alone, strict=True)],
        "has_new": [len(_only_in(some, lists)) > 0 for some, lists in zip(own, alone, strict=True)],
        "control_has_new": [_share_of_members(lists, None) for lists in alone],
        "first_is_new": [len(_only_in(some[:1], lists)) > 0 for some, lists in zip(own, alone, strict=True)],
        "control_first_is_new": [_share_of_members(lists, 1) for lists in alone],
    }


def _share_of_members(lists: list[list[str]], first: int | None) -> float:
    """Share of the members with a word, among their `first` ones (None: all), that no other member has."""
    others = [lists[:place] + lists[place + 1 :] for place in range(len(lists))]
    new = [len(_only_in(some[:first], rest)) > 0 for some, rest in zip(lists, others, strict=True)]
    return float(np.mean(new))


def _only_in(own: list[str], others: list[list[str]]) -> list[str]:
    known = {word for some in others for word in some}
    return [word for word in own if word not in known]


# ---- Held-out selectivity


@dataclass(frozen=True)
class _HeldOut:
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


def _with_selectivity(
    table: pd.DataFrame, groups: pd.DataFrame, words: dict[str, list[str]], params: Params, name: str
) -> pd.DataFrame:
    """Beside each group: what its first words name, and how well it and its best member predict that on held-out images."""
    heldout, known = _heldout(params, name, groups), _attributes_of_words(params)
    named = [_named_after(words.get(group, []), known) for group in table["group"]]
    table = table.assign(named_after=[" & ".join(value for _, value in some) for some in named])
    labels = np.array([heldout.shows(some) for some in named]).reshape(len(table), len(heldout.attributes))
    measured = labels.any(axis=1) & ~labels.all(axis=1)
    parts = [
        _of_size(part, labels[part.index].T, heldout, params.analyse_groups)
        for _, part in table[measured].groupby("size")
    ]
    return table.join(pd.concat(parts)) if parts else table.assign(**dict.fromkeys(SELECTIVITY, np.nan))


def _heldout(params: Params, name: str, groups: pd.DataFrame) -> _HeldOut:
    """Attributes, joined by image, and features of the images of split `test`."""
    rows, attributes = heldout_attributes(params.data.images)
    activations = row_normalised(read_array(paths.activations(name) / "features.npy")[rows])
    partners = np.zeros(activations.shape[1], dtype=bool)
    partners[groups.loc[groups["size"] == 1, "members"].astype(int)] = True
    settings = params.analyse_groups
    weights = bootstrap_weights(len(rows), settings.bootstrap, np.random.default_rng(settings.seed))
    thresholds = read_array(paths.groups(name) / "thresholds.npy")
    return _HeldOut(attributes, activations, thresholds, partners, weights)


def _attributes_of_words(params: Params) -> dict[str, Attribute]:
    """Which attribute a concept names; of several, the first in the lexicon."""
    names = names_of_attributes(read_table(f"{params.data.images}/lexicon.parquet"))
    return {word: attribute for attribute, words in reversed(names.items()) for word in words}


def _named_after(words: list[str], known: dict[str, Attribute]) -> list[Attribute]:
    """What a group is held to see: the attributes that its first two words name if of different kinds, else the first."""
    found = [known[word] for word in words[:2] if word in known]
    return found[:1] + [other for other in found[1:] if other[0] != found[0][0]]


def _of_size(part: pd.DataFrame, labels: np.ndarray, heldout: _HeldOut, settings: AnalyseGroups) -> pd.DataFrame:
    """Groups of one size against their best members; and, as a control, each best member with random partners against them.

    The control keeps the label and the member that already follows it, and asks whether the features that fire *together*
    with it sharpen it more than any other features would. A random label would ask less: it has no signal to sharpen.
    """
    sets = np.array([[int(member) for member in text.split()] for text in part["members"]])
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


def _gain(sets: np.ndarray, labels: np.ndarray, heldout: _HeldOut, settings: AnalyseGroups) -> Gain:
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


# ---- Metrics


def _metrics(groups: pd.DataFrame, table: pd.DataFrame, settings: AnalyseGroups) -> dict:
    """Number of groups by size, how often they fire beyond chance, and what they add to their members, by size."""
    sizes = {f"of_{size}": int(count) for size, count in groups["size"].value_counts().sort_index().items()}
    if table.empty:
        return {"groups": sizes}
    return {
        "groups": sizes,
        "median_support": float(table["support"].median()),
        "median_lift": float(table["lift"].median()),
        "median_lift_beyond_parts": float(table["lift_beyond"].median()),
        **{f"of_{size}": _added(part, settings) for size, part in table.groupby("size")},
        "of_all_sizes": _added(table, settings),
    }


def _added(part: pd.DataFrame, settings: AnalyseGroups) -> dict:
    """Shares of the groups that have a new concept and that beat their best member, each beside its control."""
    added = _beside_control("new_concept", "share", "has_new", part, settings)
    added |= _beside_control("new_first_concept", "share", "first_is_new", part, settings)
    if "gain" not in part:
        return added
    measured = int(part["gain"].notna().sum())
    added |= {"measured": measured, "not_measured": len(part) - measured}
    added |= _beside_control("beats_best_member", "share", "beats_best_member", part, settings)
    return added | _beside_control("gain", "mean", "gain", part, settings)


def _beside_control(name: str, kind: str, column: str, part: pd.DataFrame, settings: AnalyseGroups) -> dict:
    """Mean of a column and of its control, where they were measured."""
    measured = {name: part[column], f"{name}_control": part.get(f"control_{column}", part[column][:0])}
    means = {key: _mean(kind, values, settings) for key, values in measured.items()}
    return {key: mean for key, mean in means.items() if mean}


def _mean(kind: str, column: pd.Series, settings: AnalyseGroups) -> dict:
    """Mean over the groups that have a value, with its interval; nothing if none has."""
    values = column.dropna().to_numpy(dtype=float)
    if not len(values):
        return {}
    generator = np.random.default_rng(settings.seed)
    low, high = bootstrap_interval(values, settings.bootstrap, settings.confidence, generator)
    return {kind: float(values.mean()), "interval_low": low, "interval_high": high}
