"""Compare the words of every method with those that people wrote about the held-out images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from falcon_dvc import paths
from falcon_dvc.activations.stored import open_rows
from falcon_dvc.artifacts.formats import read_table, write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.captions.pairs import read_pairs
from falcon_dvc.concepts.retrieval.index import read_columns
from falcon_dvc.concepts.scoring.corpus import read_corpus
from falcon_dvc.errors import UserError
from falcon_dvc.evaluation import comparison
from falcon_dvc.evaluation.human_captions import agreement, rows_of_images, words_of_images
from falcon_dvc.evaluation.statistics import mean_with_interval, paired_difference

if TYPE_CHECKING:
    from falcon_dvc.params.schema import EvaluateHumanCaptions, Params

MEASURES = ("auprc", "pearson")
PARAM = "evaluate_human_captions.pairs"
LEAST_IMAGES = 20


@dataclass(frozen=True)
class Described:
    """Hold the held-out images with captions: their rows, and which concepts people mention of each."""

    rows: np.ndarray
    mentioned: sparse.csc_array
    captions: int


def run(params: Params, name: str) -> StageSummary:
    """Write how well each feature predicts which images people describe with its first word, by every method."""
    settings, vocabulary = params.evaluate_human_captions, pd.Index(read_corpus().vocabulary)
    described = _described(params, vocabulary)
    groups = read_table(paths.groups(name) / "groups.parquet")
    groups = groups[groups["size"] == 1]["group"].to_numpy()
    feature = np.array([int(group[1:]) for group in groups])
    activations = open_rows(paths.groups(name) / "activations").rows(described.rows)[:, feature].astype(np.float64)
    first = {
        method: pd.Series(groups).map({group: next(iter(own), "") for group, own in words.items()}).fillna("")
        for method, words in comparison.words_of_methods(params, name).items()
    }
    measured = {
        method: agreement(activations, described.mentioned, vocabulary.get_indexer(words)).assign(
            group=groups, word=words
        )
        for method, words in first.items()
    }
    order = np.random.default_rng(settings.seed).permutation(len(groups))
    permuted = agreement(activations, described.mentioned, vocabulary.get_indexer(first["falcon"])[order])
    write_table(paths.table(f"{name}_human_captions"), measured["falcon"])
    metrics = {
        "images": len(described.rows),
        "captions": described.captions,
        "features": len(groups),
        "methods": _by_method({**measured, "permuted_words": permuted}, settings),
    }
    summary = StageSummary(
        read={"held-out images with captions": len(described.rows), "features": len(groups)},
        wrote={f"rows to {paths.table(f'{name}_human_captions')}": len(groups)},
    )
    write_json(paths.metrics(f"human_captions_{name}"), metrics)
    return summary


def _described(params: Params, vocabulary: pd.Index) -> Described:
    """Find the held-out images with captions and the concepts that people mention.

    Raises
    ------
    UserError
        If there are too few such images.
    """
    images, pairs = read_table(paths.IMAGES), read_pairs(str(params.evaluate_human_captions.pairs), PARAM)
    row = rows_of_images(pairs["image"], images["image"])
    heldout = (row >= 0) & (images["split"].to_numpy()[row] == "test")
    rows, image = np.unique(row[heldout], return_inverse=True)
    if len(rows) < LEAST_IMAGES:
        raise UserError(
            f"{PARAM}: {len(rows)} held-out images of data.images are in the table, and at least {LEAST_IMAGES} are needed; "
            "name a table of captions of these images, or raise data.heldout"
        )
    known = read_columns(paths.MENTIONS, ["mention", "concept"]).to_pandas().drop_duplicates("mention")
    concept_of = dict(zip(known["mention"], vocabulary.get_indexer(known["concept"]).tolist(), strict=True))
    captions = pairs["caption"][heldout].tolist()
    return Described(
        rows, words_of_images(captions, image, len(rows), concept_of, params.parse_captions), len(captions)
    )


def _by_method(measured: dict[str, pd.DataFrame], settings: EvaluateHumanCaptions) -> dict[str, Any]:
    """Compute the mean of each measure over features, and the difference of FALCON from each method."""
    own = measured["falcon"]
    return {
        method: {
            measure: mean_with_interval(table[measure], settings, "mean")
            | (
                {}
                if method == "falcon"
                else {"falcon_less_this": paired_difference(own[measure], table[measure], settings)}
            )
            for measure in MEASURES
        }
        for method, table in measured.items()
    }
