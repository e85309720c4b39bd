"""Failures of a classifier as tables for people: one row for each failing image, one sentence for each cluster of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from falcon_dvc.evaluation.statistics import mean_with_interval
from falcon_dvc.failures.blame import Blame, by_feature, concept_blame, first_named, group_blame, ranked
from falcon_dvc.members import membership

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Failures

LISTED = 5  # features that a sentence lists for a concept, at most
ALIKE = ["right", "wrong", "first", "silent"]  # failures alike in these are one cluster


@dataclass(frozen=True)
class Carried:
    """What each feature carries: the first word of its explanation; a feature without words stands for itself.

    Attributes
    ----------
    concept : number of each feature's concept.
    words : of each concept; "" if it is a feature without words.
    features : the first feature of each concept.
    """

    concept: np.ndarray
    words: np.ndarray
    features: np.ndarray

    @cached_property
    def labels(self) -> np.ndarray:
        """What to call each concept, and at the end (-1) none."""
        numbers = [f"feature {feature}" for feature in self.features]
        return np.array([*np.where(self.words == "", numbers, self.words), ""], dtype=object)


def carried_concepts(first: pd.Series, features: int) -> Carried:
    """The concepts of features, from the first word of each group: features with the same word carry one concept."""
    words = np.array([first.get(f"f{feature}", "") for feature in range(features)], dtype=object)
    concept, _ = pd.factorize(np.where(words == "", np.arange(features).astype(object), words))
    representative = np.unique(concept, return_index=True)[1]
    return Carried(concept, words[representative], representative)


def failure_table(
    images: Sequence[str], right: Sequence[str], wrong: Sequence[str], blamed: Blame, carried: Carried
) -> pd.DataFrame:
    """One row for each failure: its classes, its first-named concept (``first`` is that one's number), and its cluster.

    Clusters are numbered from the largest (``c1``); of equal ones by their classes.
    """
    first, silent, share = first_named(*concept_blame(blamed, carried.concept))
    texts = {"image": images, "right": right, "wrong": wrong}
    table = pd.DataFrame(texts, dtype=object).assign(first=first, silent=silent)
    size = table.groupby(ALIKE).size().rename("images").reset_index()
    largest = size.sort_values(["images", *ALIKE], ascending=[False, *[True] * len(ALIKE)], kind="stable")
    numbered = largest.assign(cluster=np.array([f"c{place}" for place in range(1, len(largest) + 1)], dtype=object))
    return table.merge(numbered[[*ALIKE, "cluster"]], on=ALIKE, how="left", validate="many_to_one").assign(
        concept=carried.labels[first],
        features=_features_of(blamed.contributions, carried.concept == first[:, None]),
        blame_share=share,
    )


def _features_of(contributions: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Numbers of the wanted features that are to blame in each row, the most blamed first, as text."""
    order = ranked(contributions)
    row, place = np.nonzero(np.take_along_axis(wanted & (contributions > 0), order, axis=1))
    text = pd.Series(order[row, place].astype(str), dtype=object).groupby(row).agg(" ".join)
    return text.reindex(range(len(contributions)), fill_value="").to_numpy(dtype=object)


@dataclass(frozen=True)
class _Summed:
    """Blame of clusters, summed over their failures: of features, of concepts, and the silent part of the latter."""

    features: np.ndarray
    concepts: np.ndarray
    silent: np.ndarray


def cluster_table(
    failures: pd.DataFrame, blamed: Blame, carried: Carried, groups: pd.DataFrame, first: pd.Series, settings: Failures
) -> pd.DataFrame:
    """One row for each cluster of failures, the largest first: a sentence, the blame, its clearest examples.

    Parameters
    ----------
    failures, blamed : as from `failure_table`, and what it was made of.
    groups : groups of features; those of two and more are blamed beside the single ones.
    first : first word of each group.
    """
    table = failures.groupby("cluster").agg(
        images=("image", "size"), **{key: (key, "first") for key in [*ALIKE, "concept"]}
    )
    table = table.reset_index().sort_values(
        ["images", *ALIKE], ascending=[False, *[True] * len(ALIKE)], ignore_index=True
    )
    summed = _summed(blamed, pd.Index(table["cluster"]).get_indexer(failures["cluster"]), len(table), carried)
    table = table.assign(
        sentence=[_sentence(row, summed, carried, settings) for row in table.itertuples()],
        features=_features_of(summed.features, carried.concept == table["first"].to_numpy()[:, None]),
        **_most_blamed_group(summed.features, groups, first),
    )
    table = table.merge(_of_images(failures, settings), on="cluster", how="left", validate="one_to_one")
    return table.drop(columns="first")


def _summed(blamed: Blame, cluster: np.ndarray, clusters: int, carried: Carried) -> _Summed:
    """Sums over the failures of each cluster."""
    failures = np.arange(len(cluster))
    belongs = sparse.csr_array((np.ones(len(cluster)), (cluster, failures)), shape=(clusters, len(cluster)))
    concepts, silent = concept_blame(blamed, carried.concept)
    return _Summed(belongs @ blamed.contributions, belongs @ concepts, belongs @ silent)


def _sentence(row: Any, summed: _Summed, carried: Carried, settings: Failures) -> str:
    """``boat called truck, 31 images: no 'water' (features 7, 40), 'grass' (feature 12)``."""
    totals, silent = summed.concepts[row.Index], summed.silent[row.Index]
    least = settings.least_share * np.maximum(totals, 0).sum()
    others = [
        (other, 2 * silent[other] > totals[other])
        for other in by_feature(totals, settings.named)
        if totals[other] >= least
    ]
    named = [(row.first, row.silent)] if row.first >= 0 else []
    named += [pair for pair in others if pair[0] != row.first]
    parts = [_part(concept, absent, summed.features[row.Index], carried) for concept, absent in named[: settings.named]]
    count = "1 image" if row.images == 1 else f"{row.images} images"
    return f"{row.right} called {row.wrong}, {count}: {', '.join(parts) or 'no feature stands out'}"


def _part(concept: int, absent: bool, contributions: np.ndarray, carried: Carried) -> str:
    """One concept of a sentence with the features that are to blame, the most blamed first."""
    if not carried.words[concept]:
        return f"{'silent ' if absent else ''}feature {carried.features[concept]}"
    listed = by_feature(np.where(carried.concept == concept, contributions, 0.0), LISTED)
    numbers = f" (feature{'s' if len(listed) > 1 else ''} {', '.join(map(str, listed))})" if len(listed) else ""
    return f"{'no ' if absent else ''}'{carried.words[concept]}'{numbers}"


def _most_blamed_group(contributions: np.ndarray, groups: pd.DataFrame, first: pd.Series) -> dict[str, np.ndarray]:
    """The group of two and more features that is most to blame for each cluster, "" for none, and its first word."""
    larger = groups[groups["size"] > 1].sort_values("group")
    incidence = membership(larger["members"], contributions.shape[1])
    total = np.column_stack([np.zeros(len(contributions)), group_blame(contributions, incidence)])
    most = np.array(["", *larger["group"]], dtype=object)[ranked(total)[:, 0]]
    return {"group": most, "group_concept": pd.Series(most, dtype=object).map(first).fillna("").to_numpy()}


def _of_images(failures: pd.DataFrame, settings: Failures) -> pd.DataFrame:
    """Of each cluster: mean share of the blame that its concept has, and the images where that is largest, as JSON."""
    clearest = failures.sort_values(["blame_share", "image"], ascending=[False, True], kind="stable")
    rows = [
        {
            "cluster": cluster,
            **{
                f"blame_{key}": value
                for key, value in mean_with_interval(some["blame_share"].to_numpy(), settings).items()
            },
            "examples": json.dumps(some["image"].head(settings.examples).tolist()),
        }
        for cluster, some in clearest.groupby("cluster", sort=False)
    ]
    return pd.DataFrame(
        rows, columns=["cluster", "blame_share", "blame_interval_low", "blame_interval_high", "examples"]
    )
