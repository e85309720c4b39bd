"""Compare words with the planted truth of the synthetic data set.

The truth of a feature is the attribute it follows. All tables are joined by key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.activations.stored import open_rows
from falcon_dvc.artifacts.formats import read_table
from falcon_dvc.concepts.words.parsing import concepts_of
from falcon_dvc.evaluation import selectivity
from falcon_dvc.evaluation.statistics import clear_truth, correlations

KINDS = ("object", "colour", "texture", "background", "position")
Attribute = tuple[str, str]


@dataclass(frozen=True)
class Judge:
    """Hold what the words of an encoder's explained features are compared with, on held-out images.

    Attributes
    ----------
    truth : the truth of each feature (`truth_of`).
    activations : (images, features), those by which images are ranked.
    attributes : attributes of the same images, one bool column for each (kind, value).
    names : words that name each attribute.
    """

    truth: pd.DataFrame
    activations: np.ndarray
    attributes: pd.DataFrame
    names: Mapping[Attribute, set[str]]

    def judged(self, words: Mapping[str, list[str]]) -> pd.DataFrame:
        """Add to the truth which words are right, and how well the first word predicts the feature."""
        ranked = with_rank_of_truth(self.truth, words, self.names)
        return selectivity_of(ranked, self.activations, self.attributes, self.names)


def read_judge(folder: str, name: str, clear: float) -> Judge:
    """Read what the words of the encoder `name` are compared with.

    Parameters
    ----------
    folder : the images, with their attributes. clear : least correlation of a clear truth.
    """
    rows, attributes = heldout_attributes(folder)
    return judge_of(name, rows, attributes, names_of_attributes(read_table(f"{folder}/lexicon.parquet")), clear)


def judge_of(
    name: str, rows: np.ndarray, attributes: pd.DataFrame, names: Mapping[Attribute, set[str]], clear: float
) -> Judge:
    """Find the truth of the explained features of the encoder `name` on the held-out images `rows`.

    Parameters
    ----------
    attributes : of these images, one bool column for each (kind, value). clear : least correlation of a clear truth.
    """
    activations = open_rows(paths.groups(name) / "activations").rows(rows)
    truth = truth_of(activations, attributes, clear)
    explained = truth["group"].isin(read_table(paths.groups(name) / "groups.parquet")["group"])
    return Judge(truth[explained].reset_index(drop=True), activations, attributes, names)


def heldout_attributes(folder: str) -> tuple[np.ndarray, pd.DataFrame]:
    """Read the rows of the held-out images in all arrays, and their attributes.

    The attributes have one bool column for each (kind, value).
    """
    images = read_table(paths.IMAGES)
    rows = np.flatnonzero(images["split"] == "test")
    return rows, attributes_of(images["image"].iloc[rows], folder)


def attributes_of(images: pd.Series, folder: str) -> pd.DataFrame:
    """Read the attributes of some images of the synthetic data set, by name: one bool column for each (kind, value)."""
    attributes = read_table(f"{folder}/attributes.parquet")
    attributes = images.to_frame("image").merge(attributes, on="image", how="left", validate="one_to_one")
    objects = Path(folder) / "objects.parquet"
    return attributes_table(attributes, read_table(objects) if objects.exists() else None)


def attributes_table(attributes: pd.DataFrame, objects: pd.DataFrame | None = None) -> pd.DataFrame:
    """Build one bool column for each (kind, value) that occurs.

    Parameters
    ----------
    attributes : of each image; those of its main object, its ground, and its position.
    objects : all objects of the images (``image`` and their attributes). An image has the attributes of each of its objects.
    """
    if objects is None:
        attributes = objects = attributes.assign(image=np.arange(len(attributes)))
    own = objects[objects["image"].isin(attributes["image"])]
    sources = {kind: own if kind in own else attributes for kind in KINDS}
    columns = {
        (kind, value): attributes["image"].isin(source.loc[source[kind] == value, "image"]).to_numpy()
        for kind, source in sources.items()
        for value in sorted(source[kind].unique())
    }
    return pd.DataFrame(columns)


def attributes_together(attributes: pd.DataFrame) -> set[frozenset[Attribute]]:
    """Find the sets of two attributes that some image has."""
    has = attributes.to_numpy(dtype=np.float32)
    first, second = np.nonzero(np.triu(has.T @ has, 1))
    names = list(attributes.columns)
    return {frozenset((names[one], names[other])) for one, other in zip(first, second, strict=True)}


def truth_of(features: np.ndarray, attributes: pd.DataFrame, least: float) -> pd.DataFrame:
    """Find the attribute that each feature correlates with most.

    Rows are keyed by the name of the feature as a group of one.
    """
    correlation = correlations(features, attributes.to_numpy(dtype=bool))
    best, clear = clear_truth(correlation, least)
    kind, value = zip(*(attributes.columns[column] for column in best), strict=True)
    return pd.DataFrame(
        {
            "group": [f"f{feature}" for feature in range(len(best))],
            "kind": kind,
            "value": value,
            "correlation": correlation.max(axis=1),
            "clear": clear,
        }
    )


def names_of_attributes(lexicon: pd.DataFrame) -> dict[Attribute, set[str]]:
    """Read the words that name each attribute, in the form in which captions are parsed."""
    names: dict[Attribute, set[str]] = {}
    for kind, value, word in lexicon[["kind", "value", "word"]].itertuples(index=False):
        names.setdefault((kind, value), set()).update(concepts_of(word)[0] or [word])
    return names


def attributes_of_words(names: Mapping[Attribute, set[str]]) -> dict[str, Attribute]:
    """Find the attribute that each word names; of several, the first in the lexicon."""
    return {word: attribute for attribute, words in reversed(list(names.items())) for word in words}


def with_rank_of_truth(
    truth: pd.DataFrame, listed: Mapping[str, list[str]], names: Mapping[Attribute, set[str]]
) -> pd.DataFrame:
    """Add the first word of each group to `truth`, and the rank of the first word that names the truth.

    The rank is infinite if no word names it.
    """
    ranks = [_rank(listed.get(row.group, []), names[row.kind, row.value]) for row in truth.itertuples()]
    first = [next(iter(listed.get(group, [])), "") for group in truth["group"]]
    rank_of_truth = np.array(ranks, dtype=float)
    return truth.assign(
        first_concept=first, hit_first=rank_of_truth == 1, hit_five=rank_of_truth <= 5, rank_of_truth=rank_of_truth
    )


def _rank(words: list[str], names: set[str]) -> float:
    """Return the rank, from 1, of the first word that is in `names`; infinite if none is."""
    return next((place for place, word in enumerate(words, start=1) if word in names), np.inf)


def selectivity_of(
    table: pd.DataFrame, activations: np.ndarray, attributes: pd.DataFrame, names: Mapping[Attribute, set[str]]
) -> pd.DataFrame:
    """Compute the held-out selectivity of each row's first word for its feature.

    A word that names no attribute is counted as absent from all images.

    Parameters
    ----------
    table : columns ``group`` (single features) and ``first_concept``.
    activations : (images, features) on the held-out images.
    attributes : attributes of the same images, one bool column for each (kind, value).
    names : words that name each attribute.
    """
    words, which = np.unique(table["first_concept"].to_numpy(dtype=str), return_inverse=True)
    labels = labels_of_words(words, attributes, names)
    feature = table["group"].str.removeprefix("f").astype(int).to_numpy()
    matrices = {
        "pearson": selectivity.pearson(activations, labels),
        "auc": selectivity.auc(activations, labels),
        "mad": selectivity.mean_activation_difference(activations, labels),
    }
    pairs = {name: matrix[feature, which] for name, matrix in matrices.items()}
    return table.assign(auprc=selectivity.average_precision(activations[:, feature], labels[:, which]), **pairs)


def labels_of_words(words: np.ndarray, attributes: pd.DataFrame, names: Mapping[Attribute, set[str]]) -> np.ndarray:
    """Find the images that have an attribute that a word names: bool (images, words)."""
    named = np.array([[word in names.get(column, ()) for word in words] for column in attributes.columns])
    # A count is at most the number of attributes, which float32 holds exactly; a product of bools would be slow.
    return attributes.to_numpy(dtype=np.float32) @ named.astype(np.float32) > 0
