"""Read the caption index and the mentions, and retrieve the captions of crops.

The index consists of shards of embeddings; the mentions say which concepts each caption has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import sparse

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_json, read_rows
from falcon_dvc.compute.executor import Executor, Local, Task
from falcon_dvc.concepts.retrieval.approximate import candidates
from falcon_dvc.concepts.retrieval.index import MADE_AGAIN, factorised, occurring, read_captions, read_columns
from falcon_dvc.concepts.retrieval.nearest import (
    Near,
    Retrieved,
    Shard,
    finite,
    merged,
    near_in,
    nearest_captions,
    nearest_of,
    nothing_retrieved,
    recall,
    retrieved_weights,
)
from falcon_dvc.concepts.scoring.explanation import Captioned, ConceptSettings, captioned, summed_at, weighted
from falcon_dvc.concepts.scoring.scores import Mentions
from falcon_dvc.embeddings import Rows, RowsElsewhere
from falcon_dvc.errors import UserError
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.compute.resume import Checkpoint
    from falcon_dvc.params.schema import BuildCaptionIndex, Concepts

T = TypeVar("T")

LOCAL = Local("concepts")
CAPTIONS_AT_ONCE = 16_384  # captions in memory, with their cosines to all crops


RECALL_CAPTIONS = 5  # nearest captions of a crop that the recall of an approximate index counts


@dataclass(frozen=True)
class Corpus:
    """Hold captions, their embeddings (memory-mapped), and the vocabulary of concepts.

    Attributes
    ----------
    captions : table with the captions' numbers (``caption``, ascending).
    embeddings : embeddings of the same rows.
    image_text : fingerprint of the encoder that computed them.
    index : faiss index of the same rows; None if every caption is compared.
    """

    captions: pd.DataFrame
    embeddings: Rows
    vocabulary: np.ndarray
    mentions: Mentions
    image_text: str
    index: Any = None

    def shards(self, count: int | None = None) -> Iterator[Shard]:
        """Yield the embeddings in shards: `count` equal ones, or as many as memory requires."""
        return shards_of(self.captions["caption"].to_numpy(), self.embeddings, count)

    def frequent_words(self, least: int) -> np.ndarray:
        """Return the words that at least `least` captions mention, or all words if there are fewer than two such words."""
        words = np.flatnonzero(~self.mentions.phrase)
        count = np.asarray(self.mentions.incidence.sum(axis=0)).reshape(-1)[words]
        return words[count >= least] if (count >= least).sum() > 1 else words

    def captioned(
        self,
        crops: np.ndarray,
        settings: ConceptSettings,
        shards: int | None = None,
        checkpoint: Checkpoint | None = None,
        executor: Executor = LOCAL,
    ) -> Captioned:
        """Retrieve the captions of each crop (step 8), from the index or by comparing every caption.

        Crops with equal embeddings are compared once: features share images, and whole images have no other crops.

        Parameters
        ----------
        checkpoint : saves retrieved captions, so that a stopped stage can resume.
        executor : runs the comparison; not used for the normaliser shard or an approximate index.

        Raises
        ------
        UserError
            If the normaliser needs every caption, and the index is approximate.
        """
        different, place = different_rows(np.asarray(crops))
        found = self._captioned(different, settings, shards, checkpoint, executor)
        return Captioned(found.captions[place], found.weights[place])

    def _captioned(
        self,
        crops: np.ndarray,
        settings: ConceptSettings,
        shards: int | None,
        checkpoint: Checkpoint | None,
        executor: Executor,
    ) -> Captioned:
        if self.index is None and settings.normaliser == "shard":
            return captioned(crops, lambda: track(self.shards(shards), "nearest captions", total=shards), settings)
        if self.index is None:
            return weighted(self.compared(crops, settings, checkpoint, executor), settings)
        if settings.normaliser != "retrieved":
            raise UserError(
                f"concepts.normaliser: {settings.normaliser} needs the cosine of every caption; "
                "set it to retrieved, or build_caption_index.index to exact"
            )
        retrieved = self._approximate(crops, settings.captions_per_image)
        return Captioned(retrieved.captions, retrieved_weights(retrieved, settings.temperature))

    def compared(
        self,
        crops: np.ndarray,
        settings: ConceptSettings,
        checkpoint: Checkpoint | None = None,
        executor: Executor = LOCAL,
    ) -> Retrieved:
        """Retrieve the nearest captions of each crop by comparing every caption.

        `checkpoint` and `executor` are those of `captioned`.
        """
        retrieved = (_saved(checkpoint) if checkpoint else None) or nothing_retrieved(
            len(crops), settings.captions_per_image
        )
        first = checkpoint.finished if checkpoint else 0
        finite(crops)
        shared = np.asarray(crops), settings.captions_per_image, summed_at(settings)
        shards = executor.map(near, self.tasks(retrieved, first), *shared)
        shards = track(shards, "nearest captions", total=-(-len(self.captions) // CAPTIONS_AT_ONCE) - first)
        return merged(retrieved, _with_checkpoints(shards, retrieved, checkpoint) if checkpoint else shards)

    def tasks(self, retrieved: Retrieved, first: int = 0) -> Iterator[Task]:
        """Yield a task for every `CAPTIONS_AT_ONCE` captions, from shard number `first` on.

        Each task holds the best cosines known when it is requested.
        """
        ids = self.captions["caption"].to_numpy()
        for start in range(first * CAPTIONS_AT_ONCE, len(ids), CAPTIONS_AT_ONCE):
            places = slice(start, min(start + CAPTIONS_AT_ONCE, len(ids)))
            rows = RowsElsewhere(self.embeddings, places)
            yield Task(f"captions {start}-{places.stop - 1}", (ids[places], rows, retrieved.cosines[:, -1]))

    def _approximate(self, crops: np.ndarray, k: int) -> Retrieved:
        ids = self.captions["caption"].to_numpy()
        return nearest_of(crops, candidates(self.index, crops, k), ids, self.embeddings.__getitem__, k)

    def recall_of_index(self, crops: np.ndarray, settings: BuildCaptionIndex) -> float:
        """Compute the share of the exact five nearest captions of sampled crops that the approximate index finds.

        Parameters
        ----------
        crops : embeddings of images. Texts would give a recall that is too high, because the lists of the index were
            learned from texts, and images lie apart from texts.

        Raises
        ------
        UserError
            If the share is below ``build_caption_index.least_recall``.
        """
        drawn = np.random.default_rng(settings.seed).permutation(len(crops))[: settings.recall_crops]
        sampled = crops[np.sort(drawn)]
        exact = nearest_captions(sampled, self.shards(), RECALL_CAPTIONS)
        share = recall(self._approximate(sampled, RECALL_CAPTIONS).captions, exact.captions)
        if share < settings.least_recall:
            raise UserError(
                f"build_caption_index.least_recall: the index {settings.index} finds {share:.3f} of the nearest captions of "
                f"{len(sampled)} crops, less than {settings.least_recall}; raise nprobe, or set index: exact"
            )
        return share

    def refuse_other(self, fingerprint: str, what: str) -> None:
        """Refuse crops that another image-text encoder embedded than the captions.

        Their cosines would have no meaning.

        Raises
        ------
        UserError
            If the fingerprints differ.
        """
        if fingerprint != self.image_text:
            raise UserError(
                f"{what}: embedded by {_shown(fingerprint)}, but the captions in {paths.CAPTIONS} by {_shown(self.image_text)}; "
                "run `dvc repro`"
            )


def different_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that differ in their bytes, in the order in which they come, and the place of each row among them."""
    plain = np.ascontiguousarray(rows)
    as_bytes = plain.view(np.dtype((np.void, plain.itemsize * plain.shape[1]))).reshape(-1)
    _, first, number = np.unique(as_bytes, return_index=True, return_inverse=True)
    if len(first) == len(plain):
        return plain, np.arange(len(plain))
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return plain[first[order]], place[number]


def _saved(checkpoint: Checkpoint) -> Retrieved | None:
    """Return the captions that an earlier process retrieved, if there are any."""
    return Retrieved(**checkpoint.saved) if checkpoint.finished else None


def near(
    crops: np.ndarray, k: int, temperature: float | None, ids: np.ndarray, rows: RowsElsewhere, best: np.ndarray
) -> list[Near]:
    """Compare the crops with one shard of the corpus, in any process."""
    return list(near_in(crops, (ids, rows.read()), best, k, temperature))


def _with_checkpoints(shards: Iterator[T], retrieved: Retrieved, checkpoint: Checkpoint) -> Iterator[T]:
    """Yield the shards, and save a checkpoint after each.

    When the next shard is requested, all earlier ones are merged.
    """
    finished = checkpoint.finished
    for shard in shards:
        yield shard
        finished += 1
        checkpoint.save(finished, captions=retrieved.captions, cosines=retrieved.cosines, log_total=retrieved.log_total)


def shards_of(ids: np.ndarray, embeddings: Rows, count: int | None = None) -> Iterator[Shard]:
    """Yield captions and embeddings in shards: `count` equal ones, or as many as memory requires."""
    size = -(-len(ids) // count) if count else CAPTIONS_AT_ONCE
    for start in range(0, len(ids), size):
        yield ids[start : start + size], embeddings[start : start + size]


def _shown(fingerprint: str) -> str:
    """Shorten a fingerprint for a message."""
    return ":".join(digits[:12] for digits in str(fingerprint).split(":"))


def crop_embeddings(name: str, corpus: Corpus) -> np.ndarray:
    """Read the embeddings of the crops of the encoder `name`, written by `mine_crops`.

    Raises
    ------
    UserError
        If another image-text encoder computed them than the one of the corpus.
    """
    path, table = paths.crops(name) / "embeddings.npy", paths.crops(name) / "crops.parquet"
    made_by = read_json(paths.crops(name) / "embeddings.json")
    corpus.refuse_other(made_by.get("image_text", "an unknown model"), str(path))
    embeddings = read_rows(path, len(read_columns(table, ["role"])), table)
    if embeddings.shape[1] != corpus.embeddings.shape[1]:
        raise UserError(
            f"{path}: embeddings of width {embeddings.shape[1]}, but those of captions have {corpus.embeddings.shape[1]}; run `dvc repro`"
        )
    return embeddings


def read_centre(settings: Concepts, width: int) -> np.ndarray | float:
    """Return what is subtracted from the embedding of an image or crop before captions are compared with it: (dim,), or 0.

    Raises
    ------
    UserError
        If the file of the stage `embed_images` does not fit the captions.
    """
    if not settings.hub_correction:
        return 0.0
    path = paths.IMAGE_EMBEDDINGS / "centre.npy"
    centre = read_array(path)
    if centre.shape != (width,):
        raise UserError(f"{path}: shape {centre.shape}, but captions have width {width}; {MADE_AGAIN}")
    return centre


def read_corpus() -> Corpus:
    """Read the outputs of `build_caption_index` and `parse_captions`.

    Raises
    ------
    UserError
        If a file is missing, or if given embeddings have changed.
    """
    captions, embeddings, index = read_captions()
    vocabulary, mentions = _mentions(captions["caption"].to_numpy())
    return Corpus(captions, embeddings, vocabulary, mentions, index["image_text"], _faiss(index, len(captions)))


def _faiss(index: dict, captions: int) -> Any:
    """Open the approximate index, if there is one; its lists stay on disk."""
    if "approximate" not in index:
        return None
    import faiss

    path = paths.CAPTIONS / "index.faiss"
    try:
        approximate = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
    except RuntimeError as error:
        raise UserError(f"{path}: not a readable index; {MADE_AGAIN}") from error
    if approximate.ntotal != captions:
        raise UserError(f"{path}: {approximate.ntotal} captions, but {captions} in the table; {MADE_AGAIN}")
    return approximate


def _mentions(captions: np.ndarray) -> tuple[np.ndarray, Mentions]:
    """Read the concepts in alphabetical order (phrases after words) and the incidence matrix."""
    table = read_columns(paths.MENTIONS, ["caption", "kind", "concept"])
    if not len(table):
        raise UserError(
            f"{paths.MENTIONS}: no concept in any caption; lower parse_captions.min_word or use other captions, then run `dvc repro`"
        )
    return mentions_of(table, captions)


def mentions_of(table: pa.Table, captions: np.ndarray) -> tuple[np.ndarray, Mentions]:
    """Return the concepts in alphabetical order (phrases after words) and the incidence matrix.

    Parameters
    ----------
    table : columns ``caption``, ``kind``, ``concept``; texts as codes.
    captions : (captions,) numbers of all captions, ascending.
    """
    kind, kinds = factorised(table["kind"])
    name, names = factorised(table["concept"])
    different, concept = occurring((kinds == "phrase")[kind] * len(names) + name, 2 * len(names))
    caption = np.searchsorted(captions, table["caption"].to_numpy())
    incidence = sparse.csr_array((np.ones(len(concept)), (caption, concept)), shape=(len(captions), len(different)))
    incidence.sum_duplicates()
    incidence.data[:] = 1  # a caption may mention a concept by two of its words
    phrase = different >= len(names)
    return names[different - phrase * len(names)], Mentions(captions, incidence, phrase)
