"""Caption the crops, score the words that a group's crops share, contrast and rank them (steps 8 to 12; Eq. 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.activations.stored import open_rows
from falcon_dvc.artifacts.formats import read_table, write_array, write_json, write_table
from falcon_dvc.artifacts.shortfalls import of_concepts
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.compute.resolve import executor_of
from falcon_dvc.compute.resume import resumable
from falcon_dvc.concepts.scoring.corpus import Corpus, crop_embeddings, read_centre, read_corpus
from falcon_dvc.concepts.scoring.explanation import Captioned, Explanation
from falcon_dvc.concepts.scoring.tables import concept_table, evidence_table
from falcon_dvc.concepts.scoring.without_word import without_word
from falcon_dvc.concepts.words.listing import explanations_in_words, kept_concepts
from falcon_dvc.errors import UserError
from falcon_dvc.evaluation.following import Following, explain_by
from falcon_dvc.evaluation.whole_images import read_whole_images
from falcon_dvc.members import mean_of_members

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Concepts, Params


def run(params: Params, name: str) -> StageSummary:
    """Write the ranked concepts of the encoder `name`, their evidence, tables, plot data and metrics.

    ``captions.npy`` and ``weights.npy`` hold the retrieved captions of every crop; their rows are those of ``crops.parquet``.
    """
    corpus = read_corpus()
    groups, crops = _groups_and_crops(name)
    embeddings = crop_embeddings(name, corpus)
    recall = {} if corpus.index is None else _recall(corpus, embeddings, params)
    captions = _captioned(params, name, corpus, embeddings - read_centre(params.concepts, embeddings.shape[1]))
    by_correlation = params.concepts.ranking == "correlation"
    following = _following(name, groups, corpus, params.concepts) if by_correlation else None
    explanation = _explain(captions, crops, groups, corpus, params, following)
    table = concept_table(explanation, corpus, groups["group"].to_numpy(), params.concepts)
    high = (crops["role"] == "high").to_numpy()
    evidence = evidence_table(
        table, crops[high].reset_index(drop=True), Captioned(captions.captions[high], captions.weights[high]), corpus
    )
    write_table(paths.concepts(name) / "concepts.parquet", table)
    write_table(paths.concepts(name) / "evidence.parquet", evidence)
    write_array(paths.concepts(name) / "captions.npy", captions.captions)
    write_array(paths.concepts(name) / "weights.npy", captions.weights)
    write_table(paths.table(f"{name}_concepts"), explanations_in_words(groups, table))
    write_table(paths.plot(f"{name}_scores"), _ranked(table))
    metrics = _metrics(groups, table, crops) | without_word(groups["group"], table, params.concepts)
    metrics |= _fewer_captions(corpus, params)
    summary = StageSummary(
        read={"captions": len(corpus.captions), "crops": len(crops), "groups": len(groups)},
        dropped={"groups": {"without a concept": len(groups) - metrics["with_concepts"]}},
        wrote={f"rows to {paths.concepts(name)}": len(table) + len(evidence)},
        lacking=of_concepts(metrics),
    )
    write_json(paths.metrics(f"concepts_{name}"), {**metrics, **recall, **summary.metrics})
    return summary


def _captioned(params: Params, name: str, corpus: Corpus, embeddings: np.ndarray) -> Captioned:
    """Retrieve the captions of every crop."""
    concepts = params.concepts
    shards = concepts.shards if concepts.normaliser == "shard" else None
    depends_on = {
        "captions": concepts.captions_per_image,
        "temperature": concepts.temperature,
        "by": concepts.normaliser,
        "hubs": concepts.hub_correction,
        "compared": "different crops",
    }
    with executor_of(params, "score_concepts") as executor, resumable(f"score_concepts-{name}") as work:
        checkpoint = work.checkpoint("captions", depends_on, [paths.CAPTIONS, paths.crops(name)])
        return corpus.captioned(embeddings, concepts, shards, checkpoint, executor)


def _groups_and_crops(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the groups of an encoder and the crops of these groups."""
    path, of = paths.groups(name) / "groups.parquet", paths.crops(name) / "crops.parquet"
    groups, crops = read_table(path), read_table(of)
    if not crops["group"].isin(groups["group"]).all():
        raise UserError(f"{path}: lacks groups that have crops in {of}; run `dvc repro`")
    return groups, crops


def _recall(corpus: Corpus, embeddings: np.ndarray, params: Params) -> dict[str, float]:
    """Measure which share of the exact search the approximate index finds."""
    return {"recall_at_5": corpus.recall_of_index(embeddings, params.build_caption_index)}


def _fewer_captions(corpus: Corpus, params: Params) -> dict[str, dict[str, int]]:
    """Compare the corpus with the number of captions that a crop retrieves; nothing if there are enough."""
    captions, retrieved = len(corpus.captions), params.concepts.captions_per_image
    return {"fewer_captions": {"captions": captions, "retrieved": retrieved}} if captions < retrieved else {}


def _explain(
    captions: Captioned,
    crops: pd.DataFrame,
    groups: pd.DataFrame,
    corpus: Corpus,
    params: Params,
    following: Following | None = None,
) -> Explanation:
    """Explain the crops; they are joined to groups by key. Concepts are ranked by how well they follow the group, if `following`."""
    group = pd.Index(groups["group"]).get_indexer(crops["group"])
    role = crops["role"].to_numpy()
    return explain_by(following, captions, group, role, corpus.mentions, len(groups), params.concepts)


def _following(name: str, groups: pd.DataFrame, corpus: Corpus, settings: Concepts) -> Following:
    """Read what the groups and the words do on the probe images."""
    probe, whole = np.flatnonzero(read_table(paths.IMAGES)["split"] == "probe"), read_whole_images(corpus)
    activations = mean_of_members(open_rows(paths.groups(name) / "activations"), groups["members"], probe)
    constants = settings.word_weight, settings.nearest_weight, settings.word_sharpness
    return Following(activations, whole.scores[probe], whole.words, whole.embeddings[probe], whole.texts, *constants)


def _ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Compute plot data: the scores of the first words over all groups.

    The scores on the group's crops, on lowly activating crops and on random crops are each sorted on their own.
    """
    first = kept_concepts(table, top=1)
    curves = {"its crops": "score", "lowly activating": "low_score", "random crops": "prior"}
    return pd.concat(
        [
            pd.DataFrame(
                {"group_by_rank": np.arange(1, len(first) + 1), "of": of, "value": np.sort(first[column])[::-1]}
            )
            for of, column in curves.items()
        ],
        ignore_index=True,
    )


def _metrics(groups: pd.DataFrame, table: pd.DataFrame, crops: pd.DataFrame) -> dict:
    """Compute counts and means of the concepts."""
    words = table[table["kind"] == "word"]
    first = kept_concepts(words, top=1)
    means = {column: float(first[column].mean()) for column in ("score", "low_score", "prior")} if len(first) else {}
    return {
        "groups": len(groups),
        "with_concepts": len(first),
        "first_concept": means,
        "different_first_concepts": first["concept"].nunique(),
        "removed_words_per_group": float((~words["kept"]).sum() / max(len(groups), 1)),
        "without_low_images": int(len(groups) - crops.loc[crops["role"] == "low", "group"].nunique()),
        "empty_heatmaps": int(crops.loc[crops["role"] == "high", "empty"].sum()),
    }
