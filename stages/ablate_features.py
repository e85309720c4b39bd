"""Measure what features do: remove each from the features of images, and see which class or word the outputs lose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table, write_array, write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.concepts.words.listing import first_concepts
from falcon_dvc.errors import UserError
from falcon_dvc.evaluation.ablation import (
    Cosines,
    Logits,
    ablated,
)
from falcon_dvc.evaluation.ablation_table import Readout, ablation_table, removal_of
from falcon_dvc.evaluation.class_truth import words_of_classes
from falcon_dvc.evaluation.ground_truth import names_of_attributes
from falcon_dvc.evaluation.statistics import mean_with_interval, paired_difference
from falcon_dvc.failures.classifiers import read_classifier, read_features
from falcon_dvc.models.encoders.classifiers import LABELLED, LinearClassifier, embedding_map

if TYPE_CHECKING:
    from falcon_dvc.params.schema import AblateFeatures, Params

SAME_SPACE = 0.9  # least mean cosine of two embeddings of the same images
RARE = 0.05  # share of the random directions that reach as much


def run(params: Params, name: str) -> StageSummary:
    """Write what the removal of each feature of the encoder `name` does to its outputs, on held-out images.

    Raises
    ------
    UserError
        If the features lead to no outputs that are known, or do not fit them.
    """
    settings, images = params.ablate_features, read_table(paths.IMAGES)
    groups = read_table(paths.groups(name) / "groups.parquet")
    features = groups.loc[groups["size"] == 1, "group"].reset_index(drop=True)
    words = features.map(first_concepts(read_table(paths.concepts(name) / "concepts.parquet"))).fillna("")
    probe, heldout = (np.flatnonzero(images["split"] == split) for split in ("probe", "test"))
    rows = heldout if len(heldout) else probe
    classifier = read_classifier(params, name)
    if classifier is None:
        values, readout = _of_embedding(params, name, rows, words)
    else:
        values, readout = _of_classifier(params, name, classifier, words)
    chosen = features.str.removeprefix("f").astype(int).to_numpy()
    found = ablated(values[rows], chosen, readout.outputs, removal_of(values[probe], len(rows), settings))
    table = ablation_table(features, words, found, readout)
    write_array(paths.ABLATIONS / f"{name}.npy", found.falls.astype(np.float32))
    write_table(paths.table(f"{name}_ablation"), table)
    unmoved = int((found.fall <= 0).sum())
    summary = StageSummary(
        read={"features": len(features)},
        dropped={"features": {"whose removal lowers no output": unmoved}},
        wrote={f"rows to {paths.table(f'{name}_ablation')}": len(table)},
    )
    counts = {"features": len(features), "outputs": len(readout.labels), "held_out": int(len(heldout) > 0)}
    write_json(paths.metrics(f"ablation_{name}"), {**counts, **_metrics(table, settings), **summary.metrics})
    return summary


def _of_classifier(
    params: Params, name: str, classifier: LinearClassifier, words: pd.Series
) -> tuple[np.ndarray, Readout]:
    """Read the features, and the logits that they lead to."""
    images = len(read_table(paths.IMAGES))
    values = read_features(name, images, classifier.weights.shape[1])
    if len(classifier.names) < 2:
        raise UserError(
            f"ablate_features.encoders: the classifier of '{name}' has one output; two or more are compared"
        )
    named = words_of_classes(classifier.names, params)
    if params.worlds:
        of_world = names_of_attributes(read_table(f"{params.data.images}/lexicon.parquet"))
        named = {label: own | of_world.get((LABELLED, label), set()) for label, own in named.items()}
    class_of = {word: place for place, label in enumerate(classifier.names) for word in named[label]}
    own = words.map(class_of).fillna(-1).to_numpy(dtype=int)
    return values, Readout("logit", Logits(classifier.weights), np.array(classifier.names, dtype=object), own)


def _of_embedding(params: Params, name: str, rows: np.ndarray, words: pd.Series) -> tuple[np.ndarray, Readout]:
    """Read the features, and their cosines with the first words in the joint space of the image-text encoder."""
    linear = embedding_map(params.encoders[name], f"encoders.{name}")
    if linear is None:
        raise UserError(
            f"ablate_features.encoders: '{name}' has no classifier, and its features do not lead to an embedding by a linear map; "
            "list it in fit_probe.encoders too, or read an open_clip tower before its projection (layer: ln_post, pooling: cls)"
        )
    weights, constant = (part.astype(np.float64) for part in linear)
    images = read_array(paths.IMAGE_EMBEDDINGS / "embeddings.npy")
    values = read_features(name, len(images), len(weights))
    embeddings = values[rows] @ weights + constant
    _refuse_other_space(embeddings, images[rows], name)
    frequent = read_table(paths.IMAGE_CAPTIONS / "words.parquet")["word"].to_numpy()
    known = np.unique(words[words.isin(frequent)].to_numpy(dtype=object))
    texts = read_array(paths.IMAGE_CAPTIONS / "words.npy")[pd.Index(frequent).get_indexer(known)].astype(np.float64)
    if not len(known):
        raise UserError(
            f"ablate_features.encoders: no first word of '{name}' is frequent enough for data/image_captions/words.parquet; "
            "lower caption_images.least_mentions"
        )
    return values, Readout("cosine", Cosines(embeddings, weights, texts), known, pd.Index(known).get_indexer(words))


def _refuse_other_space(embeddings: np.ndarray, images: np.ndarray, name: str) -> None:
    """Raise unless the features lead to the embeddings of the image-text encoder."""
    alike = 0.0
    if embeddings.shape == images.shape:
        lengths = np.maximum(np.linalg.norm(embeddings, axis=1), np.finfo(float).tiny)
        alike = float(((embeddings * images).sum(axis=1) / lengths).mean())
    if alike < SAME_SPACE:
        raise UserError(
            f"ablate_features.encoders: the embeddings of '{name}' are not those of image_text (mean cosine {alike:.2f}); "
            "name the same model and weights in both, or list a probe of the encoder in fit_probe.encoders"
        )


def _metrics(table: pd.DataFrame, settings: AblateFeatures) -> dict[str, Any]:
    """Compute means over features: the fall against random directions, and that of the own word against other words."""
    named = table[table["named_by_word"] != ""]
    order = np.random.default_rng(settings.seed).permutation(len(named))
    right = named["word_names_it"].to_numpy(dtype=float)
    by_chance = (named["named_by_word"].to_numpy()[order] == named["falls_most"].to_numpy()).astype(float)
    return {
        "fall": mean_with_interval(table["fall"], settings, "mean"),
        "random_fall": mean_with_interval(table["random_fall"], settings, "mean"),
        "fall_less_random": paired_difference(table["fall"], table["random_fall"], settings),
        "beyond_random": mean_with_interval(table["p_value"] <= RARE, settings),
        "rise": mean_with_interval(table["rise"], settings, "mean"),
        "features_whose_word_names_an_output": len(named),
        "word_names_it": mean_with_interval(right, settings),
        "permuted_words": mean_with_interval(by_chance, settings),
        "word_less_permuted": paired_difference(right, by_chance, settings),
        "own_word_fall": mean_with_interval(named["own_fall"], settings, "mean"),
        "own_word_random_change": mean_with_interval(named["own_random_change"], settings, "mean"),
        "own_word_less_random": paired_difference(named["own_fall"], named["own_random_change"], settings),
        "own_word_beyond_random": mean_with_interval(named["own_p_value"] <= RARE, settings),
        **_against_others(named.dropna(subset=["other_words_fall"]), settings),
    }


def _against_others(named: pd.DataFrame, settings: AblateFeatures) -> dict[str, Any]:
    return {
        "other_words_fall": mean_with_interval(named["other_words_fall"], settings, "mean"),
        "own_less_other_words": paired_difference(named["own_fall"], named["other_words_fall"], settings),
    }
