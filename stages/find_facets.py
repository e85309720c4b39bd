"""Find how many things each feature follows, and cluster its crops into facets with their own words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.activations.stored import open_rows
from falcon_dvc.artifacts.formats import read_rows, read_table, write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.concepts.scoring.corpus import Corpus, crop_embeddings, read_corpus
from falcon_dvc.concepts.scoring.explanation import Captioned
from falcon_dvc.concepts.words.listing import listed_words
from falcon_dvc.concepts.words.sentences import entries
from falcon_dvc.evaluation.explaining_sets import ExplainingSets, explaining_sets
from falcon_dvc.evaluation.facet_words import CaptionedCrops, facet_table
from falcon_dvc.evaluation.ground_truth import read_judge
from falcon_dvc.evaluation.set_tables import set_table
from falcon_dvc.evaluation.set_truth import judged_sets, set_metrics
from falcon_dvc.evaluation.statistics import mean_with_interval
from falcon_dvc.evaluation.whole_images import image_scores
from falcon_dvc.evaluation.word_sets import Division, WordSets, divided, permuted, word_sets
from falcon_dvc.members import member_lists

if TYPE_CHECKING:
    from falcon_dvc.params.schema import FindFacets, Params

EXAMPLES = 3  # crops of a facet that the CSV table names


def run(params: Params, name: str) -> StageSummary:
    """Write the words that each feature of the encoder `name` follows, its facets, and metrics."""
    settings, corpus, images = params.find_facets, read_corpus(), read_table(paths.IMAGES)
    groups = read_table(paths.groups(name) / "groups.parquet")
    features = groups.loc[groups["size"] == 1, ["group", "members"]]
    division = divided(_hashes(images["image"]), (images["split"] == "probe").to_numpy())
    activations = _activations(name, features["members"], len(images))
    sets, explaining, control = _word_sets(activations, corpus, division, settings)
    crops = _crops(name, corpus)
    names = features["group"].to_numpy()
    facets = facet_table(names, sets, crops, corpus, params.concepts, settings.least_difference)
    write_table(paths.facets(name), facets)
    write_table(paths.table(f"{name}_facets"), _with_examples(facets, crops.table))
    words, of_truth = _with_truth(params, name, set_table(features["group"], sets, explaining, corpus.vocabulary))
    write_table(paths.table(f"{name}_word_sets"), words)
    several = facets["group"].value_counts().reindex(features["group"]).to_numpy() > 1
    metrics = {
        **_metrics(sets, settings),
        **_relations(explaining, settings),
        "several_facets": mean_with_interval(several, settings),
        **of_truth,
        "permuted_images": _metrics(control, settings),
    }
    write_json(paths.metrics(f"facets_{name}"), metrics)
    held = len(division.heldout)
    return StageSummary(
        read={"features": len(features), "crops": len(crops.table), "held-out images": held},
        lacking=[] if held else ["no image is held out, so R² is not measured; raise data.heldout"],
        wrote={f"facets to {paths.facets(name)}": len(facets)},
    )


def _hashes(names: Iterable[str]) -> np.ndarray:
    """Compute a number of each image from its name, so that the order of the images does not decide how they are divided."""
    digests = (hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest() for name in names)
    return np.array([int.from_bytes(digest[:7], "big") for digest in digests])


def _activations(name: str, members: pd.Series, images: int) -> np.ndarray:
    """Read the activations of single features on all images."""
    column = [feature for (feature,) in member_lists(members)]
    return open_rows(paths.groups(name) / "activations", images, paths.IMAGES).columns(np.array(column, dtype=int))


def _word_sets(
    activations: np.ndarray, corpus: Corpus, division: Division, settings: FindFacets
) -> tuple[WordSets, ExplainingSets, WordSets]:
    """Choose the words of each feature, explain it by them, and choose words for permuted images; words are concepts."""
    words = np.flatnonzero(~corpus.mentions.phrase)
    scores = image_scores(corpus)[:, words]
    generator = np.random.default_rng(settings.seed)
    found, control = (
        word_sets(values, scores, division, settings.most_words, settings.candidates, settings.least_gain)
        for values in (activations, permuted(activations, division, generator))
    )
    rule = (settings.candidates, settings.least_gain, settings.confidence)
    explaining = explaining_sets(activations, scores, division, found, *rule)
    concept = np.append(words, -1)
    return (
        replace(found, words=concept[found.words]),
        replace(explaining, words=concept[explaining.words]),
        control,
    )


def _with_truth(params: Params, name: str, words: pd.DataFrame) -> tuple[pd.DataFrame, dict]:
    """Judge the words of each set by the attributes that its feature follows: the table with what is right, and metrics.

    Without a synthetic data set, nothing is known, and the table stays as it is.
    """
    if not params.worlds:
        return words, {}
    settings = params.find_facets
    judge = read_judge(params.data.images, name, settings.least_correlation)
    lists = (words[column].map(entries) for column in ("words", "not_words"))
    sets = dict(zip(words["group"], zip(*lists, strict=True), strict=True))
    ranked = listed_words(read_table(paths.concepts(name) / "concepts.parquet"))
    judged = judged_sets(judge, sets, ranked, settings.least_correlation, np.random.default_rng(settings.seed))
    return words.merge(judged, on="group", how="left", validate="one_to_one"), {"truth": set_metrics(judged, settings)}


def _crops(name: str, corpus: Corpus) -> CaptionedCrops:
    """Read the crops of the encoder with the captions that `score_concepts` retrieved."""
    path = paths.crops(name) / "crops.parquet"
    table = read_table(path)
    captions, weights = (
        read_rows(paths.concepts(name) / f"{of}.npy", len(table), path) for of in ("captions", "weights")
    )
    return CaptionedCrops(table, crop_embeddings(name, corpus), Captioned(captions, weights))


def _with_examples(facets: pd.DataFrame, crops: pd.DataFrame) -> pd.DataFrame:
    """Name the images of the most typical crops of each facet, for people."""
    high = crops[crops["role"] == "high"]
    image = dict(zip(zip(high["group"], high["rank"], strict=True), high["image"], strict=True))
    examples = [
        "; ".join(str(image[group, rank]) for rank in ranks[:EXAMPLES])
        for group, ranks in zip(facets["group"], member_lists(facets["ranks"]), strict=True)
    ]
    return facets.drop(columns="ranks").assign(examples=examples)


def _metrics(sets: WordSets, settings: FindFacets) -> dict:
    """Compute how many things the features follow, and the median R² on held-out images by the number of words."""
    counts = {"nothing": sets.count == 0, "one": sets.count == 1, "several": sets.count > 1}
    shares = {f"follow_{name}": mean_with_interval(which, settings) for name, which in counts.items()}
    measured = len(sets.r2) and np.isfinite(sets.r2).all()
    medians = np.median(sets.r2, axis=0) if measured else []
    return {
        "features": len(sets.count),
        **shares,
        "median_r2": {f"words_{step + 1}": float(value) for step, value in enumerate(medians)},
    }


def _relations(explaining: ExplainingSets, settings: FindFacets) -> dict:
    """Compute how many features have a "not" or an "and", and the median R² of all words on held-out images."""
    lowered = np.logical_or.reduce(explaining.direction < 0, axis=1)
    together = np.logical_or.reduce(explaining.together, axis=(1, 2))
    measured = len(explaining.r2) and np.isfinite(explaining.r2).all()
    return {
        "with_not": mean_with_interval(lowered, settings),
        "with_and": mean_with_interval(together, settings),
        **({"median_r2_of_set": float(np.median(explaining.r2))} if measured else {}),
    }
