"""Summarise the failures of a classifier: one row for each failing image, one sentence for each cluster."""

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

LISTED = 5  # largest number of features that a sentence lists for a concept
ALIKE = ["right", "wrong", "first", "silent"]  # failures with equal values form a cluster


@dataclass(frozen=True)
class FeatureConcepts:
    """Hold the concept of each feature: the first word of its explanation.

    A feature without words is its own concept.

    Attributes
    ----------
    concept : number of each feature's concept.
    words : word of each concept; "" if it is a feature without words.
    features : the first feature of each concept.
    """

    concept: np.ndarray
    words: np.ndarray
    features: np.ndarray

    @cached_property
    def labels(self) -> np.ndarray:
        """Return the label of each concept, and at the end (-1) an empty label."""
        numbers = [f"feature {feature}" for feature in self.features]
        return np.array([*np.where(self.words == "", numbers, self.words), ""], dtype=object)


def concepts_of_features(first: pd.Series, features: int) -> FeatureConcepts:
    """Assign a concept to each feature, from the first word of each group.

    Features with the same first word have one concept.
    """
    words = np.array([first.get(f"f{feature}", "") for feature in range(features)], dtype=object)
    concept, _ = pd.factorize(np.where(words == "", np.arange(features).astype(object), words))
    representative = np.unique(concept, return_index=True)[1]
    return FeatureConcepts(concept, words[representative], representative)


def failure_table(
    images: Sequence[str], right: Sequence[str], wrong: Sequence[str], blamed: Blame, concepts: FeatureConcepts
) -> pd.DataFrame:
    """List the failures: classes, first-named concept (``first`` is its number) and cluster, one row for each.

    Clusters are numbered from the largest (``c1``). Equally large ones are ordered by their classes.
    """
    first, silent, share = first_named(*concept_blame(blamed, concepts.concept))
    texts = {"image": images, "right": right, "wrong": wrong}
    table = pd.DataFrame(texts, dtype=object).assign(first=first, silent=silent)
    size = table.groupby(ALIKE).size().rename("images").reset_index()
    largest = size.sort_values(["images", *ALIKE], ascending=[False, *[True] * len(ALIKE)], kind="stable")
    numbered = largest.assign(cluster=np.array([f"c{place}" for place in range(1, len(largest) + 1)], dtype=object))
    return table.merge(numbered[[*ALIKE, "cluster"]], on=ALIKE, how="left", validate="many_to_one").assign(
        concept=concepts.labels[first],
        features=_features_of(blamed.contributions, concepts.concept == first[:, None]),
        blame_share=share,
    )


def _features_of(contributions: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """List the wanted features that are to blame in each row, the most blamed first, as text."""
    order = ranked(contributions)
    row, place = np.nonzero(np.take_along_axis(wanted & (contributions > 0), order, axis=1))
    text = pd.Series(order[row, place].astype(str), dtype=object).groupby(row).agg(" ".join)
    return text.reindex(range(len(contributions)), fill_value="").to_numpy(dtype=object)


@dataclass(frozen=True)
class _Summed:
    """Hold the blame of clusters, summed over their failures.

    The sums are over features, concepts, and the silent part of the concepts.
    """

    features: np.ndarray
    concepts: np.ndarray
    silent: np.ndarray


def cluster_table(
    failures: pd.DataFrame,
    blamed: Blame,
    concepts: FeatureConcepts,
    groups: pd.DataFrame,
    first: pd.Series,
    settings: Failures,
) -> pd.DataFrame:
    """List the clusters of failures, the largest first: a sentence, the blame and the clearest examples.

    Parameters
    ----------
    failures, blamed : result of `failure_table`, and the blame it depends on.
    groups : groups of features; groups of two or more are blamed in addition to single features.
    first : first word of each group.
    """
    table = failures.groupby("cluster").agg(
        images=("image", "size"), **{key: (key, "first") for key in [*ALIKE, "concept"]}
    )
    table = table.reset_index().sort_values(
        ["images", *ALIKE], ascending=[False, *[True] * len(ALIKE)], ignore_index=True
    )
    summed = _summed(blamed, pd.Index(table["cluster"]).get_indexer(failures["cluster"]), len(table), concepts)
    table = table.assign(
        sentence=[_sentence(row, summed, concepts, settings) for row in table.itertuples()],
        features=_features_of(summed.features, concepts.concept == table["first"].to_numpy()[:, None]),
        **_most_blamed_group(summed.features, groups, first),
    )
    table = table.merge(_of_clusters(failures, settings), on="cluster", how="left", validate="one_to_one")
    return table.drop(columns="first")


def _summed(blamed: Blame, cluster: np.ndarray, clusters: int, concepts: FeatureConcepts) -> _Summed:
    """Sum the blame over the failures of each cluster."""
    failures = np.arange(len(cluster))
    belongs = sparse.csr_array((np.ones(len(cluster)), (cluster, failures)), shape=(clusters, len(cluster)))
    by_concept, silent = concept_blame(blamed, concepts.concept)
    return _Summed(belongs @ blamed.contributions, belongs @ by_concept, belongs @ silent)


def _sentence(row: Any, summed: _Summed, concepts: FeatureConcepts, settings: Failures) -> str:
    """Write ``boat called truck, 31 images: no 'water' (features 7, 40), 'grass' (feature 12)``."""
    totals, silent = summed.concepts[row.Index], summed.silent[row.Index]
    least = settings.least_share * np.maximum(totals, 0).sum()
    others = [
        (other, 2 * silent[other] > totals[other])
        for other in by_feature(totals, settings.named)
        if totals[other] >= least
    ]
    named = [(row.first, row.silent)] if row.first >= 0 else []
    named += [pair for pair in others if pair[0] != row.first]
    phrases = [
        _phrase(concept, absent, summed.features[row.Index], concepts) for concept, absent in named[: settings.named]
    ]
    count = "1 image" if row.images == 1 else f"{row.images} images"
    return f"{row.right} called {row.wrong}, {count}: {', '.join(phrases) or 'no feature stands out'}"


def _phrase(concept: int, absent: bool, contributions: np.ndarray, concepts: FeatureConcepts) -> str:
    """Write one concept of a sentence with its blamed features, the most blamed first."""
    if not concepts.words[concept]:
        return f"{'silent ' if absent else ''}feature {concepts.features[concept]}"
    listed = by_feature(np.where(concepts.concept == concept, contributions, 0.0), LISTED)
    numbers = f" (feature{'s' if len(listed) > 1 else ''} {', '.join(map(str, listed))})" if len(listed) else ""
    return f"{'no ' if absent else ''}'{concepts.words[concept]}'{numbers}"


def _most_blamed_group(contributions: np.ndarray, groups: pd.DataFrame, first: pd.Series) -> dict[str, np.ndarray]:
    """Find the most blamed group of two or more features for each cluster, and its first word.

    Both are "" if no group is to blame.
    """
    larger = groups[groups["size"] > 1].sort_values("group")
    incidence = membership(larger["members"], contributions.shape[1])
    total = np.column_stack([np.zeros(len(contributions)), group_blame(contributions, incidence)])
    most = np.array(["", *larger["group"]], dtype=object)[ranked(total)[:, 0]]
    return {"group": most, "group_concept": pd.Series(most, dtype=object).map(first).fillna("").to_numpy()}


def _of_clusters(failures: pd.DataFrame, settings: Failures) -> pd.DataFrame:
    """Compute the mean share of blame of each cluster's concept, and list its clearest images as JSON."""
    clearest = failures.sort_values(["blame_share", "image"], ascending=[False, True], kind="stable")
    rows = [
        {
            "cluster": cluster,
            **{
                f"blame_{key}": value
                for key, value in mean_with_interval(images["blame_share"].to_numpy(), settings).items()
            },
            "examples": json.dumps(images["image"].head(settings.examples).tolist()),
        }
        for cluster, images in clearest.groupby("cluster", sort=False)
    ]
    return pd.DataFrame(
        rows, columns=["cluster", "blame_share", "blame_interval_low", "blame_interval_high", "examples"]
    )
