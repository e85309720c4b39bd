"""The caption index as the method wants it: shards of embeddings, and which concepts each caption mentions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
from scipy import sparse

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json, read_rows
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
    from falcon_dvc.params.schema import BuildCaptionIndex

T = TypeVar("T")

LOCAL = Local("concepts")
CAPTIONS_AT_ONCE = 16_384  # of the index in memory, with their cosines to all crops


GATED = 5  # captions of a crop that the recall of an approximate index is about


@dataclass(frozen=True)
class Corpus:
    """Captions, their embeddings (memory-mapped), and the vocabulary of concepts.

    Attributes
    ----------
    captions : table with the captions' numbers (``caption``, ascending).
    embeddings : of the same rows.
    image_text : fingerprint of the encoder that embedded them.
    index : faiss index of the same rows; None if every caption is compared.
    """

    captions: pd.DataFrame
    embeddings: Rows
    vocabulary: np.ndarray
    mentions: Mentions
    image_text: str
    index: Any = None

    def shards(self, count: int | None = None) -> Iterator[Shard]:
        """The embeddings in parts: `count` equal ones, or as many as memory allows."""
        return shards_of(self.captions["caption"].to_numpy(), self.embeddings, count)

    def captioned(
        self,
        crops: np.ndarray,
        settings: ConceptSettings,
        shards: int | None = None,
        part: Checkpoint | None = None,
        executor: Executor = LOCAL,
    ) -> Captioned:
        """Step 8: the captions of each crop, from the index or by comparing every caption.

        Parameters
        ----------
        part : keeps what is found, should the process end before every caption has been compared.
        executor : compares; not for the normaliser shard, nor for an approximate index.

        Raises
        ------
        UserError
            If the normaliser needs every caption, and the index is approximate.
        """
        if self.index is None and settings.normaliser == "shard":
            return captioned(crops, lambda: track(self.shards(shards), "nearest captions", total=shards), settings)
        if self.index is None:
            return weighted(self.compared(crops, settings, part, executor), settings)
        if settings.normaliser != "retrieved":
            raise UserError(
                f"concepts.normaliser: {settings.normaliser} needs the cosine of every caption; "
                "set it to retrieved, or build_caption_index.index to exact"
            )
        found = self._approximate(crops, settings.captions_per_image)
        return Captioned(found.captions, retrieved_weights(found, settings.temperature))

    def compared(
        self, crops: np.ndarray, settings: ConceptSettings, part: Checkpoint | None = None, executor: Executor = LOCAL
    ) -> Retrieved:
        """The nearest captions of each crop by comparing every caption; `part` and `executor` as above."""
        found = (_kept(part) if part else None) or nothing_retrieved(len(crops), settings.captions_per_image)
        first = part.finished if part else 0
        finite(crops)
        shared = np.asarray(crops), settings.captions_per_image, summed_at(settings)
        shards = executor.map(near, self.tasks(found, first), *shared)
        shards = track(shards, "nearest captions", total=-(-len(self.captions) // CAPTIONS_AT_ONCE) - first)
        return merged(found, _noted(shards, found, part) if part else shards)

    def tasks(self, found: Retrieved, first: int = 0) -> Iterator[Task]:
        """Every `CAPTIONS_AT_ONCE` captions from the `first` such on, and what is known of the best when they are asked for."""
        ids = self.captions["caption"].to_numpy()
        for start in range(first * CAPTIONS_AT_ONCE, len(ids), CAPTIONS_AT_ONCE):
            places = slice(start, min(start + CAPTIONS_AT_ONCE, len(ids)))
            rows = RowsElsewhere(self.embeddings, places)
            yield Task(f"captions {start}-{places.stop - 1}", (ids[places], rows, found.cosines[:, -1]))

    def _approximate(self, crops: np.ndarray, k: int) -> Retrieved:
        ids = self.captions["caption"].to_numpy()
        return nearest_of(crops, candidates(self.index, crops, k), ids, self.embeddings.__getitem__, k)

    def recall_of_index(self, crops: np.ndarray, settings: BuildCaptionIndex) -> float:
        """Share of the exact five nearest captions of some crops that the approximate index finds.

        Parameters
        ----------
        crops : embeddings of images. Texts would not do: they lie apart from images, among the texts that the lists were
            learned from, and are found even where images are not.

        Raises
        ------
        UserError
            If it is below ``build_caption_index.least_recall``.
        """
        sample = np.random.default_rng(settings.seed).permutation(len(crops))[: settings.recall_crops]
        some = crops[np.sort(sample)]
        exact = nearest_captions(some, self.shards(), GATED)
        found = recall(self._approximate(some, GATED).captions, exact.captions)
        if found < settings.least_recall:
            raise UserError(
                f"build_caption_index.least_recall: the index {settings.index} finds {found:.3f} of the nearest captions of "
                f"{len(some)} crops, less than {settings.least_recall}; raise nprobe, or set index: exact"
            )
        return found

    def refuse_other(self, fingerprint: str, what: str) -> None:
        """Stop where crops come from another image-text encoder than the captions: their cosines would mean nothing.

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


def _kept(part: Checkpoint) -> Retrieved | None:
    """What an earlier process found."""
    return Retrieved(**part.saved) if part.finished else None


def near(
    crops: np.ndarray, k: int, temperature: float | None, ids: np.ndarray, rows: RowsElsewhere, best: np.ndarray
) -> list[Near]:
    """One shard of the corpus, in whatever process."""
    return list(near_in(crops, (ids, rows.read()), best, k, temperature))


def _noted(shards: Iterator[T], found: Retrieved, part: Checkpoint) -> Iterator[T]:
    """The shards; whenever the next is asked for, those before it have been merged."""
    finished = part.finished
    for shard in shards:
        yield shard
        finished += 1
        part.save(finished, captions=found.captions, cosines=found.cosines, log_total=found.log_total)


def shards_of(ids: np.ndarray, embeddings: Rows, count: int | None = None) -> Iterator[Shard]:
    """Captions and their embeddings in parts: `count` equal ones, or as many as memory allows."""
    size = -(-len(ids) // count) if count else CAPTIONS_AT_ONCE
    for start in range(0, len(ids), size):
        yield ids[start : start + size], embeddings[start : start + size]


def _shown(fingerprint: str) -> str:
    """A fingerprint short enough to read."""
    return ":".join(part[:12] for part in str(fingerprint).split(":"))


def crop_embeddings(name: str, corpus: Corpus) -> np.ndarray:
    """The crops' embeddings of the encoder `name`, as `mine_crops` left them.

    Raises
    ------
    UserError
        If another image-text encoder made them than the corpus's.
    """
    path, table = paths.crops(name) / "embeddings.npy", paths.crops(name) / "crops.parquet"
    made_by = read_json(paths.crops(name) / "embeddings.json")
    corpus.refuse_other(made_by.get("image_text", "an unknown model"), str(path))
    embeddings = read_rows(path, len(read_columns(table, ["role"])), table)
    if embeddings.shape[1] != corpus.embeddings.shape[1]:
        raise UserError(
            f"{path}: embeddings of width {embeddings.shape[1]}, of captions {corpus.embeddings.shape[1]}; run `dvc repro`"
        )
    return embeddings


def read_corpus() -> Corpus:
    """Open what `build_caption_index` and `parse_captions` wrote.

    Raises
    ------
    UserError
        If something is missing, or embeddings that were given have changed.
    """
    captions, embeddings, index = read_captions()
    vocabulary, mentions = _mentions(captions["caption"].to_numpy())
    return Corpus(captions, embeddings, vocabulary, mentions, index["image_text"], _faiss(index, len(captions)))


def _faiss(index: dict, captions: int) -> Any:
    """The approximate index, if there is one; its lists stay on disk."""
    if "approximate" not in index:
        return None
    import faiss

    path = paths.CAPTIONS / "index.faiss"
    try:
        found = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
    except RuntimeError as error:
        raise UserError(f"{path}: not a readable index; {MADE_AGAIN}") from error
    if found.ntotal != captions:
        raise UserError(f"{path}: {found.ntotal} captions, but {captions} in the table; {MADE_AGAIN}")
    return found


def _mentions(captions: np.ndarray) -> tuple[np.ndarray, Mentions]:
    """Concepts in alphabetical order (phrases after words) and the incidence matrix."""
    table = read_columns(paths.MENTIONS, ["caption", "kind", "concept"])
    if not len(table):
        raise UserError(
            f"{paths.MENTIONS}: no concept in any caption; lower parse_captions.min_word or use other captions, then run `dvc repro`"
        )
    kind, kinds = factorised(table["kind"])
    name, names = factorised(table["concept"])
    different, concept = occurring((kinds == "phrase")[kind] * len(names) + name, 2 * len(names))
    caption = np.searchsorted(captions, table["caption"].to_numpy())
    incidence = sparse.csr_array((np.ones(len(concept)), (caption, concept)), shape=(len(captions), len(different)))
    incidence.sum_duplicates()
    incidence.data[:] = 1  # a caption may mention a concept by two of its words
    phrase = different >= len(names)
    return names[different - phrase * len(names)], Mentions(captions, incidence, phrase)
