"""Tabulate how the first word of each feature does by quantile of the activation, against the words of other features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from falcon_dvc.activations.parts import OFF, PARTS
from falcon_dvc.activations.rows import Rows
from falcon_dvc.concepts.words.sentences import listed
from falcon_dvc.evaluation.faithfulness import incidence, words_of_others
from falcon_dvc.evaluation.ground_truth import Attribute, labels_of_words
from falcon_dvc.evaluation.quantiles import (
    counts_by_decile,
    deciles_of,
    holds_to,
    in_parts,
    interval_of_means,
    mean_of,
    spread_examples,
    sums_by_decile,
    words_of_parts,
)
from falcon_dvc.evaluation.statistics import Resampling, mean_with_interval, median_with_interval
from falcon_dvc.progress import track

FEATURES_AT_ONCE = 256  # features whose activations are in memory
EXAMPLES = 4  # images of a part that pages show
WORDS = 3  # of a part
BELOW = ("deciles_2_to_5", "deciles_6_to_10")  # parts with examples
OWN, PERMUTED = "", "permuted_"  # prefixes of columns: the feature's own word, and that of another feature


@dataclass(frozen=True)
class Activated:
    """Hold activations that are read block by block.

    Attributes
    ----------
    values : (all images, all features). `rows` and `columns` are the images and features that count.
    """

    values: Rows
    rows: np.ndarray
    columns: np.ndarray

    def block(self, features: slice) -> np.ndarray:
        """Read some of the features: (rows, features)."""
        return self.values.columns(self.columns[features], self.rows)


@dataclass(frozen=True)
class Labels:
    """Hold what the images are known to show.

    Attributes
    ----------
    known : which images have labels.
    attributes : of these, one bool column for each (kind, value).
    names : words that name each attribute.
    """

    known: np.ndarray
    attributes: pd.DataFrame
    names: Mapping[Attribute, set[str]]

    def of(self, words: np.ndarray) -> tuple[sparse.csc_array, np.ndarray]:
        """Return which of the known images show what each word names, sparse (images, words), and which words name anything."""
        different, which = np.unique(words, return_inverse=True)
        named = np.isin(different, list(set().union(*self.names.values())))
        shown = sparse.csc_array(labels_of_words(different, self.attributes, self.names).astype(np.float64))
        return shown[:, which], named[which]


@dataclass(frozen=True)
class Quantiles:
    """Hold the table of the parts, and examples of each part in `BELOW`.

    Attributes
    ----------
    examples : places of images among those that count, (features, `EXAMPLES`), -1 where there are fewer.
    activations : of the examples.
    """

    table: pd.DataFrame
    examples: dict[str, np.ndarray]
    activations: dict[str, np.ndarray]


def measure_quantiles(
    features: pd.DataFrame,
    activated: Activated,
    scores: sparse.csc_array,
    vocabulary: np.ndarray,
    labels: Labels | None,
    confidence: float,
    seed: int,
) -> Quantiles:
    """Measure the score of each feature's first word by part of its activation, and that of the word of another feature.

    Parameters
    ----------
    features : columns ``group`` and ``words`` (lists, the first word first), in the order of `activated.columns`.
    scores : ``s_x(w)`` of the images in `activated.rows`, sparse (images, concepts); `vocabulary` names the concepts.
    labels : what these images show; None if it is not known.
    confidence : of the intervals.
    seed : of the words of other features.
    """
    words = features["words"].tolist()
    own = pd.Index(vocabulary).get_indexer([next(iter(some), "") for some in words])
    single = np.flatnonzero([" " not in concept for concept in vocabulary])
    of_words = sparse.csr_array(scores[:, single])
    other = words_of_others(own, incidence(words, vocabulary), np.random.default_rng(seed))
    starts = range(0, max(len(features), 1), FEATURES_AT_ONCE)
    blocks = [slice(start, start + FEATURES_AT_ONCE) for start in starts]
    tables, examples, activations = [], [], []
    for block in track(blocks, "quantiles", total=len(blocks)):
        values = activated.block(block)
        decile, concepts = deciles_of(values), {OWN: own[block], PERMUTED: other[block]}
        table = _block(features["group"].iloc[block], decile, concepts, scores, vocabulary, labels, confidence)
        tables.append(table.assign(words=_words(words_of_parts(decile, of_words, WORDS), vocabulary[single])))
        examples.append({part: spread_examples(values, decile, part, EXAMPLES) for part in BELOW})
        activations.append({part: np.take_along_axis(values, rows.T, axis=0).T for part, rows in examples[-1].items()})
    found = (
        {part: np.concatenate([some[part] for some in all_]) for part in BELOW} for all_ in (examples, activations)
    )
    return Quantiles(pd.concat(tables, ignore_index=True), *found)


def _words(found: Mapping[str, np.ndarray], vocabulary: np.ndarray) -> list[str]:
    """List the words of each feature and part, in the order of the rows."""
    parts = zip(*found.values(), strict=True)
    return [listed(vocabulary[numbers[numbers >= 0]]) for of_feature in parts for numbers in of_feature]


def with_frequency(table: pd.DataFrame, groups: pd.DataFrame, frequency: np.ndarray) -> pd.DataFrame:
    """Add to a table of parts how often each feature is not 0, and which side of a direction it is.

    Parameters
    ----------
    groups : the features in the order of the table, with the column ``side`` if they are sides of directions.
    frequency : of each of them (`evaluation.frequency`).
    """
    of_features = {"frequency": frequency} | ({"side": groups["side"].to_numpy()} if "side" in groups else {})
    return table.assign(**{key: np.repeat(values, len(PARTS)) for key, values in of_features.items()})


def _block(
    groups: pd.Series,
    decile: np.ndarray,
    concepts: Mapping[str, np.ndarray],
    scores: sparse.csc_array,
    vocabulary: np.ndarray,
    labels: Labels | None,
    confidence: float,
) -> pd.DataFrame:
    """Tabulate a block of features, a row for each feature and part."""
    counts = counts_by_decile(decile)
    columns: dict[str, Any] = {
        "group": np.repeat(groups.to_numpy(), len(PARTS)),
        "part": np.tile(list(PARTS), len(groups)),
        "images": in_parts(counts).astype(int).reshape(-1),
    }
    for prefix, concept in concepts.items():
        names = np.where(concept >= 0, vocabulary[concept], "").astype(object)
        columns[f"{prefix}word"] = np.repeat(names, len(PARTS))
        columns |= _scored(prefix, decile, counts, concept, scores, confidence)
        if labels is not None:
            columns |= _shown(prefix, decile[labels.known], names, labels, confidence)
    return pd.DataFrame(columns)


def _scored(
    prefix: str,
    decile: np.ndarray,
    counts: np.ndarray,
    concept: np.ndarray,
    scores: sparse.csc_array,
    confidence: float,
) -> dict[str, np.ndarray]:
    """Compute the mean score of a word of each feature by part, over all images, and the percentile to which it holds."""
    missing = (concept < 0)[:, None]
    sums = np.where(missing, np.nan, sums_by_decile(decile, scores[:, np.maximum(concept, 0)]))
    found = _of_parts(f"{prefix}score", sums, counts, confidence)
    chance = mean_of(sums.sum(axis=1), counts.sum(axis=1))
    low, _ = interval_of_means(mean_of(sums, counts), counts, confidence)
    percentile = np.where(missing[:, 0], np.nan, holds_to(low[:, :OFF], chance))
    every = np.repeat(chance, len(PARTS))
    lift = np.divide(found[f"{prefix}score"], every, out=np.full(len(every), np.nan), where=every > 0)
    added = {"chance": every, "lift": lift, "holds_to": np.repeat(percentile, len(PARTS))}
    return found | {f"{prefix}{key}": values for key, values in added.items()}


def _shown(
    prefix: str, decile: np.ndarray, words: np.ndarray, labels: Labels, confidence: float
) -> dict[str, np.ndarray]:
    """Compute the share of the labelled images that show what a word of each feature names, by part and over all."""
    shown, named = labels.of(words)
    counts = counts_by_decile(decile)
    sums = np.where(named[:, None], sums_by_decile(decile, shown), np.nan)
    found = _of_parts(f"{prefix}shown", sums, counts, confidence)
    of_all = mean_of(sums.sum(axis=1), counts.sum(axis=1))
    return found | {f"{prefix}shown_by_chance": np.repeat(of_all, len(PARTS))}


def _of_parts(name: str, sums: np.ndarray, counts: np.ndarray, confidence: float) -> dict[str, np.ndarray]:
    """Compute the mean of each part with its interval, in the order of the rows."""
    sizes = in_parts(counts)
    means = mean_of(in_parts(sums), sizes)
    low, high = interval_of_means(means, sizes, confidence)
    return {name: means.reshape(-1), f"{name}_low": low.reshape(-1), f"{name}_high": high.reshape(-1)}


def quantile_metrics(table: pd.DataFrame, settings: Resampling) -> dict[str, Any]:
    """Compute the medians over features by part, of their own words and of those of other features (control)."""
    of_features = table[table["part"] == "top_decile"]
    return {
        "features": len(of_features),
        "without_a_word": int((of_features["word"] == "").sum()),
        "never_above_0": int((of_features["images"] == 0).sum()),
        "holds_to": median_with_interval(of_features["holds_to"], settings),
        "permuted_holds_to": median_with_interval(of_features["permuted_holds_to"], settings),
        **{part: _metrics_of_part(table[table["part"] == part], settings) for part in PARTS},
    }


def _metrics_of_part(rows: pd.DataFrame, settings: Resampling) -> dict[str, Any]:
    found: dict[str, Any] = {"images": median_with_interval(rows["images"], settings)}
    for prefix in (OWN, PERMUTED):
        of_word = rows[rows[f"{prefix}score"].notna()]
        above = of_word[f"{prefix}score_low"] > of_word[f"{prefix}chance"]
        measured = {
            key: median_with_interval(rows[f"{prefix}{key}"], settings)
            for key in ("score", "lift", "shown", "shown_by_chance")
            if f"{prefix}{key}" in rows
        }
        found["permuted_words" if prefix else "first_word"] = {
            **measured,
            "above_chance": mean_with_interval(above, settings),
        }
    return found
