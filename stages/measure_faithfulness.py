"""Measure how well the first word of each feature and group follows it on held-out images, without labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from falcon_dvc import paths
from falcon_dvc.activations.stored import open_rows
from falcon_dvc.artifacts.formats import MADE_AGAIN, read_array, read_table, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.concepts.scoring.corpus import Corpus, read_corpus
from falcon_dvc.concepts.words.listing import listed_words
from falcon_dvc.errors import UserError
from falcon_dvc.evaluation.faithfulness import faithfulness, incidence, reference_level, scores_of, words_of_others
from falcon_dvc.evaluation.hand_made_sets import first_word, random_sets, sets_of_classes
from falcon_dvc.evaluation.statistics import bootstrap_weights, interval_of_correlations
from falcon_dvc.evaluation.whole_images import image_scores
from falcon_dvc.groups.image_sets import compared_activations
from falcon_dvc.members import mean_of_members

if TYPE_CHECKING:
    from falcon_dvc.params.schema import MeasureFaithfulness, Params


def run(params: Params, name: str) -> StageSummary:
    """Write the faithfulness of every feature and group of the encoder `name`, also with the words of others."""
    images, corpus, groups = read_table(paths.IMAGES), read_corpus(), read_table(paths.groups(name) / "groups.parquet")
    heldout = np.flatnonzero(images["split"] == "test")
    listed = listed_words(read_table(paths.concepts(name) / "concepts.parquet"))
    table = groups[["group", "size"]].assign(
        kind=np.where(groups["size"] == 1, "feature", "group"),
        words=[listed.get(group, []) for group in groups["group"]],
    )
    if len(heldout):
        activations = open_rows(paths.groups(name) / "activations", len(images), paths.IMAGES)
        scores, references = image_scores(corpus), _references(params, name, heldout, activations.shape[1])
        parts = [
            (table, mean_of_members(activations, groups["members"], heldout)),
            *_hand_made(images, scores, corpus, params),
        ]
        table = pd.concat(
            [_measured(*part, scores[heldout].tocsc(), references, corpus, params) for part in parts], ignore_index=True
        )
    else:
        table = _with_first_word(table)
    write_table(paths.faithfulness(name), table)
    return StageSummary(
        read={"held-out images": len(heldout), "groups": len(groups)},
        lacking=[] if len(heldout) else ["no image is held out, so nothing is measured; raise data.heldout"],
        wrote={f"rows to {paths.faithfulness(name)}": len(table)},
    )


def _hand_made(
    images: pd.DataFrame, scores: sparse.csr_array, corpus: Corpus, params: Params
) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
    """Yield the sets of one class and as many random ones: their words, and which held-out images belong to them."""
    probe = (images["split"] == "probe").to_numpy()
    names, sets = sets_of_classes(images["label"].to_numpy(), probe, params.find_groups.min_images)
    if not len(names):
        return
    random = random_sets(sets, probe, np.random.default_rng(params.measure_faithfulness.seed))
    words = np.flatnonzero(~corpus.mentions.phrase)
    for kind, members in (("class set", sets), ("random set", random)):
        chosen = corpus.vocabulary[first_word(members[probe], scores[probe], words)]
        table = pd.DataFrame({"group": names, "size": 0, "kind": kind, "words": [[word] for word in chosen]})
        yield table, members[~probe].astype(np.float64)


def _measured(
    table: pd.DataFrame,
    activations: np.ndarray,
    scores: sparse.csc_array,
    references: np.ndarray,
    corpus: Corpus,
    params: Params,
) -> pd.DataFrame:
    """Add the correlation of each row with its first word, its interval, that with the word of another row, and the excess."""
    settings, vocabulary = params.measure_faithfulness, corpus.vocabulary
    own, table = incidence(table["words"].tolist(), vocabulary), _with_first_word(table)
    word = pd.Index(vocabulary).get_indexer(table["word"])
    generator = np.random.default_rng(settings.seed)
    other = words_of_others(word, own, generator)
    weights = bootstrap_weights(len(activations), settings.bootstrap, generator)
    low, high = interval_of_correlations(activations, scores_of(scores, word), weights, settings.confidence)
    table = table.assign(
        pearson=faithfulness(activations, scores, word),
        pearson_low=low,
        pearson_high=high,
        permuted_word=np.where(other >= 0, vocabulary[other], ""),
        permuted_pearson=faithfulness(activations, scores, other),
    )
    return table.assign(**_above_level(table, scores, vocabulary, references, settings))


def _with_first_word(table: pd.DataFrame) -> pd.DataFrame:
    """Replace the words of each row by the first one, "" if there is none."""
    return table.assign(word=[next(iter(words), "") for words in table["words"]]).drop(columns="words")


def _references(params: Params, name: str, heldout: np.ndarray, features: int) -> np.ndarray:
    """Read the activations of the copies with random weights; those of a control are its encoder's."""
    path = paths.references(next(iter(params.encoders[name].control_of), name))
    copies, expected = read_array(path), (len(heldout), features)
    if copies.ndim != 3 or copies.dtype.kind != "f" or (len(copies) and copies.shape[1:] != expected):
        images = f"{len(heldout)} held-out images and {features} features"
        raise UserError(f"{path}: {copies.dtype} of shape {copies.shape}, not copies x {images}; {MADE_AGAIN}")
    return np.array([compared_activations(copy, params.find_groups.normalise) for copy in copies])


def _above_level(
    table: pd.DataFrame,
    scores: sparse.csc_array,
    vocabulary: np.ndarray,
    references: np.ndarray,
    settings: MeasureFaithfulness,
) -> dict[str, np.ndarray]:
    """Compute what the words reach above the level of encoders with random weights; nothing if there is no such encoder."""
    if not len(references):
        return {}
    used, inverse = np.unique(table[["word", "permuted_word"]].to_numpy(dtype=str), return_inverse=True)
    place = pd.Index(vocabulary).get_indexer(used)
    level = reference_level(references, sparse.csc_array(scores_of(scores, place)), settings.quantile)
    own, permuted = level[inverse.reshape(len(table), 2)].T
    return {"level": own, "excess": table["pearson"] - own, "permuted_excess": table["permuted_pearson"] - permuted}
