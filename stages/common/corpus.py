"""The caption index as the method wants it: shards of embeddings, and which concepts each caption mentions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from stages.common import files
from stages.common.artifacts import read_array, read_json, read_rows
from stages.common.caption_embeddings import RowsElsewhere, UnitRows, open_embeddings
from stages.common.errors import UserError
from stages.common.executor import Executor, Local, Task
from stages.common.progress import track
from stages.method.approximate import candidates
from stages.method.concepts import Mentions
from stages.method.explanation import Captioned, Settings, captioned, summed_at, weighted
from stages.method.retrieval import (
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
from stages.method.rows import Rows

if TYPE_CHECKING:
    from stages.common.params import BuildCaptionIndex, Concepts
    from stages.common.unfinished import Part

T = TypeVar("T")

LOCAL = Local("concepts")
CAPTIONS_AT_ONCE = 16_384  # of the index in memory, with their cosines to all crops
MADE_AGAIN = "run `dvc repro -f build_caption_index`"
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
        settings: Settings,
        shards: int | None = None,
        part: Part | None = None,
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
        self, crops: np.ndarray, settings: Settings, part: Part | None = None, executor: Executor = LOCAL
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
                f"{what}: embedded by {_shown(fingerprint)}, but the captions in {files.CAPTIONS} by {_shown(self.image_text)}; "
                "run `dvc repro`"
            )


def _kept(part: Part) -> Retrieved | None:
    """What an earlier process found."""
    return Retrieved(**part.kept) if part.finished else None


def near(
    crops: np.ndarray, k: int, temperature: float | None, ids: np.ndarray, rows: RowsElsewhere, best: np.ndarray
) -> list[Near]:
    """One shard of the corpus, in whatever process."""
    return list(near_in(crops, (ids, rows.read()), best, k, temperature))


def _noted(shards: Iterator[T], found: Retrieved, part: Part) -> Iterator[T]:
    """The shards; whenever the next is asked for, those before it have been merged."""
    finished = part.finished
    for shard in shards:
        yield shard
        finished += 1
        part.note(finished, captions=found.captions, cosines=found.cosines, log_total=found.log_total)


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
    path, table = files.crops(name) / "embeddings.npy", files.crops(name) / "crops.parquet"
    made_by = read_json(files.crops(name) / "embeddings.json")
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


def read_captions() -> tuple[pd.DataFrame, Rows, dict]:
    """Numbers and embeddings of the captions, row by row alike, and ``index.json``.

    Raises
    ------
    UserError
        If something is missing, or embeddings that were given have changed.
    """
    index = read_json(files.CAPTIONS / "index.json")
    if not isinstance(index, dict) or "image_text" not in index:
        raise UserError(f"{files.CAPTIONS / 'index.json'}: does not say which image_text it is of; {MADE_AGAIN}")
    given = index.get("embeddings")
    columns = ["caption", "embedding"] if given else ["caption"]
    captions = read_columns(files.CAPTIONS / "captions.parquet", columns).to_pandas()
    path = files.CAPTIONS / "embeddings.npy"
    embeddings = _given(given, captions["embedding"].to_numpy()) if given else read_array(path)
    if len(captions) != embeddings.shape[0]:
        raise UserError(
            f"{files.CAPTIONS}: {len(captions)} captions but {embeddings.shape[0]} embeddings; {MADE_AGAIN}"
        )
    return captions, embeddings, index


def read_columns(path: Any, columns: list[str]) -> pa.Table:
    """Some columns of a table of ours; texts in them as codes, so that a corpus of millions fits the memory.

    Raises
    ------
    UserError
        If it is missing or no such table.
    """
    with naming(path):
        schema = pq.read_schema(path)
        texts = [name for name in columns if pa.types.is_string(schema.field(name).type)]
        return pq.read_table(path, columns=columns, read_dictionary=texts)


@contextmanager
def naming(path: Any) -> Iterator[None]:
    """Turn what goes wrong while a table of ours is read into one line that names it."""
    try:
        yield
    except (OSError, KeyError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{path}: not a readable table ({reason}); run `dvc repro` to make it again") from error


def factorised(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Codes of a column of texts, and the texts in alphabetical order; some of these may be in no row."""
    whole = column.unify_dictionaries().combine_chunks()
    texts = whole.dictionary.to_numpy(zero_copy_only=False).astype(object)
    order = np.argsort(texts, kind="stable")
    place = np.empty(len(texts), dtype=np.int64)
    place[order] = np.arange(len(texts))
    return place[whole.indices.to_numpy()], texts[order]


def occurring(codes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of `size` codes occur, ascending, and each code's place among these; without sorting what may be many millions."""
    occurs = np.zeros(size, dtype=bool)
    occurs[codes] = True
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[codes]


def _given(described: list[dict], rows: np.ndarray) -> UnitRows:
    """The embeddings that came with the corpus, where they lie."""
    arrays = [open_embeddings(one["file"]) for one in described]
    for one, array in zip(described, arrays, strict=True):
        if len(array) != one["rows"]:
            raise UserError(f"{one['file']}: {len(array)} embeddings, {one['rows']} when indexed; {MADE_AGAIN}")
    return UnitRows(arrays, rows)


def _faiss(index: dict, captions: int) -> Any:
    """The approximate index, if there is one; its lists stay on disk."""
    if "approximate" not in index:
        return None
    import faiss

    path = files.CAPTIONS / "index.faiss"
    try:
        found = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
    except RuntimeError as error:
        raise UserError(f"{path}: not a readable index; {MADE_AGAIN}") from error
    if found.ntotal != captions:
        raise UserError(f"{path}: {found.ntotal} captions, but {captions} in the table; {MADE_AGAIN}")
    return found


def _mentions(captions: np.ndarray) -> tuple[np.ndarray, Mentions]:
    """Concepts in alphabetical order (phrases after words) and the incidence matrix."""
    table = read_columns(files.MENTIONS, ["caption", "kind", "concept"])
    if not len(table):
        raise UserError(
            f"{files.MENTIONS}: no concept in any caption; lower parse_captions.min_word or use other captions, then run `dvc repro`"
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


def settings_of(params: Concepts) -> Settings:
    """The method's constants, from params.yaml."""
    return Settings(
        captions_per_image=params.captions_per_image,
        temperature=params.temperature,
        normaliser=params.normaliser,
        contrast=params.contrast,
        low_cut=params.low_cut,
        relative_cut=params.relative_cut,
        gamma=params.gamma,
        top=params.top,
    )
