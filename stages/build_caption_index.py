"""Clean and embed the caption corpus once, or take the embeddings that come with it (step 8)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import INTACT, finished, read_array, write_json
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.captions.corpus_file import CaptionSource
from falcon_dvc.captions.formats import is_plain, open_captions, open_given
from falcon_dvc.captions.selection import Selection, select, selected
from falcon_dvc.captions.vectors import GivenEmbeddings
from falcon_dvc.compute.device import best_device
from falcon_dvc.compute.executor import Executor, PerProcess, Task
from falcon_dvc.compute.resolve import executor_of
from falcon_dvc.compute.resume import Checkpoint, resumable
from falcon_dvc.concepts.retrieval.approximate import Approximation, build_index
from falcon_dvc.concepts.retrieval.parquet_stream import row_groups, table_in_parts
from falcon_dvc.embeddings import Rows
from falcon_dvc.errors import UserError
from falcon_dvc.models.image_text.base import ImageTextEncoder
from falcon_dvc.models.image_text.load import load_image_text
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.params.schema import BuildCaptionIndex, ImageTextSpec, Params

# Captions that are embedded, and that are written, together: multiples of the encoders' batches, so that they change no batch.
EMBEDDED_AT_ONCE = 4096
ROWS_AT_ONCE = 65_536


def run(params: Params) -> StageSummary:
    """Index the corpus with the run's image-text encoder."""
    return build(params, PerProcess(_encoder, params.image_text))


def _encoder(spec: ImageTextSpec) -> ImageTextEncoder:
    """The encoder, in whatever process."""
    return load_image_text(spec, best_device())


def build(params: Params, load: Callable[[], ImageTextEncoder]) -> StageSummary:
    """Write ``captions.parquet``, ``embeddings.npy`` (row by row alike), ``index.json``, ``index.faiss`` and the counts.

    Embeddings that are given stay where they are: ``index.json`` names their files. The encoder is loaded when it is
    needed first, so that a corpus without captions is reported at once.
    """
    source = open_captions(params.data)
    given = open_given(params.data, source, lambda: load().dim)
    selection = select(source, given)
    encoder = load()
    parts = row_groups(selected(source, selection, not is_plain(params.data)), ROWS_AT_ONCE)
    if given is None:
        depends_on = {
            "corpus": selection.digest,
            "image_text": params.image_text.model_dump(mode="json"),
            "fingerprint": encoder.fingerprint,
        }
        with executor_of(params, "build_caption_index") as executor, resumable("build_caption_index") as work:
            captions = work.checkpoint("captions", depends_on)
            _write_embedded(parts, load, len(selection.captions), captions, executor)
    else:
        deque(_written(parts), maxlen=0)
    approximate = _write_index(_embeddings(given, selection), params.build_caption_index)
    write_json(
        paths.CAPTIONS / "index.json",
        {
            "image_text": encoder.fingerprint,
            "captions": len(selection.captions),
            "dim": encoder.dim,
            **_described(source, given, encoder, selection),
            **approximate,
        },
    )
    summary = _summary(selection, given)
    write_json(paths.metrics("captions"), {**_counts(selection, given), **summary.metrics})
    return summary


def _write_embedded(
    parts: Iterator[pa.Table], load: Callable[[], ImageTextEncoder], count: int, work: Checkpoint, executor: Executor
) -> None:
    """The captions and their embeddings."""
    embeddings = work.array("embeddings.npy", (count, load().dim), np.float32)
    parts = track(_written(parts), "embedding captions", total=-(-count // ROWS_AT_ONCE))
    first = work.finished
    for rows in executor.map(_embed, _tasks(parts, first), load, accelerated=True):
        embeddings[first : first + len(rows)] = rows
        first += len(rows)
        work.save(first)
    work.move("embeddings.npy", paths.CAPTIONS / "embeddings.npy")


def _tasks(parts: Iterator[pa.Table], finished: int) -> Iterator[Task]:
    """Every `EMBEDDED_AT_ONCE` captions of each part, but for those that are finished."""
    first = 0
    for part in parts:
        for start in range(0, len(part), EMBEDDED_AT_ONCE):
            some = part["text"].slice(start, EMBEDDED_AT_ONCE).to_pylist()
            if first + start + len(some) > finished:
                yield Task(f"captions {first + start}-{first + start + len(some) - 1}", (some,))
        first += len(part)


def _embed(load: Callable[[], ImageTextEncoder], texts: list[str]) -> np.ndarray:
    """Some captions, in whatever process."""
    return load().embed_texts(texts)


def _written(parts: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The captions, each part written when it is given."""
    first = next(parts)
    with table_in_parts(paths.CAPTIONS / "captions.parquet", first.schema) as writer:
        for part in chain([first], parts):
            writer.write_table(part)
            yield part


def _embeddings(given: GivenEmbeddings | None, selection: Selection) -> Rows:
    """The embeddings of the captions kept, read where asked for."""
    if given is None or selection.embeddings is None:
        return read_array(paths.CAPTIONS / "embeddings.npy")
    return given.unit(selection.embeddings)


def _write_index(texts: Rows, settings: BuildCaptionIndex) -> dict:
    """The approximate index, if one is asked for, and how it was made."""
    if settings.index == "exact":
        return {}
    import faiss

    made = {name: getattr(settings, name) for name in ("index", "seed", "nlist", "nprobe", "train")}
    try:
        index = build_index(texts, Approximation(**made))
    except ValueError as error:
        raise UserError(f"build_caption_index.nlist: {error}; set a smaller number, or index: exact") from error
    path = paths.CAPTIONS / "index.faiss"
    with finished(path) as name:
        try:
            faiss.write_index(index, str(name))
        except RuntimeError as error:
            raise UserError(f"{path}: cannot be written ({error}); free some space; {INTACT}") from error
    return {"approximate": made}


def _described(
    source: CaptionSource, given: GivenEmbeddings | None, encoder: ImageTextEncoder, selection: Selection
) -> dict:
    """What a later stage needs to find captions and embeddings again, and to tell whether they are the same."""
    where = {} if given is None else {"embeddings": given.described()}
    return {
        "preprocessing": encoder.preprocessing,
        "corpus": selection.digest,
        "files": list(source.files),
        **where,
    }


def _summary(selection: Selection, given: GivenEmbeddings | None) -> StageSummary:
    kept = len(selection.captions)
    return StageSummary(
        read={"captions": selection.lines},
        dropped={
            "captions": {
                "without text": selection.empty,
                "without a usable embedding": selection.without_embedding,
            }
        },
        noted={
            "merged with an earlier one of the same text": selection.duplicates,
            "cut to their first letters": selection.cut,
            "with bytes that are not UTF-8": selection.undecodable,
        },
        wrote={f"rows to {paths.CAPTIONS / 'captions.parquet'}": kept, "embeddings": kept if given is None else 0},
    )


def _counts(selection: Selection, given: GivenEmbeddings | None) -> dict[str, int]:
    counts = {
        "captions": len(selection.captions),
        "duplicates": selection.duplicates,
        "empty": selection.empty,
        "cut": selection.cut,
        "undecodable": selection.undecodable,
    }
    return counts if given is None else {**counts, "without_embedding": selection.without_embedding}
