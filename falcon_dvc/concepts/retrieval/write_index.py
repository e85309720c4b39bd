"""Write the caption index: embeddings, their description, and an approximate index if requested."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import INTACT, allocated, finished, read_array
from falcon_dvc.captions.corpus_file import CaptionSource
from falcon_dvc.captions.selection import Selection
from falcon_dvc.captions.vectors import GivenEmbeddings
from falcon_dvc.compute.executor import Executor, Task
from falcon_dvc.compute.resume import Checkpoint
from falcon_dvc.concepts.retrieval.approximate import Approximation, build_index
from falcon_dvc.concepts.retrieval.parquet_stream import row_groups, table_in_parts
from falcon_dvc.embeddings import Rows, unit_rows
from falcon_dvc.errors import UserError
from falcon_dvc.models.image_text.base import ImageTextEncoder
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.params.schema import BuildCaptionIndex


# Captions that are embedded, or written, together. Multiples of the encoders' batches leave the batches unchanged.
EMBEDDED_AT_ONCE = 4096
ROWS_AT_ONCE = 65_536


def in_row_groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Regroup a streamed table into tables of `ROWS_AT_ONCE` rows."""
    return row_groups(tables, ROWS_AT_ONCE)


def write_embedded(
    tables: Iterator[pa.Table], load: Callable[[], ImageTextEncoder], count: int, work: Checkpoint, executor: Executor
) -> None:
    """Write the captions and their embeddings."""
    embeddings = work.array("embeddings.npy", (count, load().dim), np.float32)
    tables = track(written(tables), "embedding captions", total=-(-count // ROWS_AT_ONCE))
    first = work.finished
    for rows in executor.map(_embed, _tasks(tables, first), load, accelerated=True):
        embeddings[first : first + len(rows)] = rows
        first += len(rows)
        work.save(first)
    work.move("embeddings.npy", paths.CAPTIONS / "embeddings.npy")


def _tasks(tables: Iterator[pa.Table], finished: int) -> Iterator[Task]:
    """Yield a task for every `EMBEDDED_AT_ONCE` captions of each table, except for finished ones."""
    first = 0
    for table in tables:
        for start in range(0, len(table), EMBEDDED_AT_ONCE):
            texts = table["text"].slice(start, EMBEDDED_AT_ONCE).to_pylist()
            if first + start + len(texts) > finished:
                yield Task(f"captions {first + start}-{first + start + len(texts) - 1}", (texts,))
        first += len(table)


def _embed(load: Callable[[], ImageTextEncoder], texts: list[str]) -> np.ndarray:
    """Embed captions, in any process."""
    return load().embed_texts(texts)


def write_centred() -> None:
    """Take the mean of all captions off each caption's embedding, and scale it to length 1 again.

    The mean is what all captions share. Without it, captions that lie near it do not hide others.
    """
    path = paths.CAPTIONS / "embeddings.npy"
    texts = read_array(path)
    blocks = [slice(start, start + ROWS_AT_ONCE) for start in range(0, len(texts), ROWS_AT_ONCE)]
    mean = sum(texts[block].sum(axis=0, dtype=np.float64) for block in blocks) / len(texts)
    with finished(path) as partial:
        centred = allocated(partial, texts.shape, texts.dtype)
        for block in blocks:
            centred[block] = unit_rows(texts[block] - mean)[0]


def embeddings(given: GivenEmbeddings | None, selection: Selection) -> Rows:
    """Return the embeddings of the kept captions, read on access."""
    if given is None or selection.embeddings is None:
        return read_array(paths.CAPTIONS / "embeddings.npy")
    return given.unit(selection.embeddings)


def write_index(texts: Rows, settings: BuildCaptionIndex) -> dict:
    """Write the approximate index, if requested, and return its params."""
    if settings.index == "exact":
        return {}
    import faiss

    settings_of_index = {name: getattr(settings, name) for name in ("index", "seed", "nlist", "nprobe", "train")}
    try:
        index = build_index(texts, Approximation(**settings_of_index))
    except ValueError as error:
        raise UserError(f"build_caption_index.nlist: {error}; set a smaller number, or index: exact") from error
    path = paths.CAPTIONS / "index.faiss"
    with finished(path) as name:
        try:
            faiss.write_index(index, str(name))
        except RuntimeError as error:
            raise UserError(f"{path}: cannot be written ({error}); free some space; {INTACT}") from error
    return {"approximate": settings_of_index}


def described(
    source: CaptionSource, given: GivenEmbeddings | None, encoder: ImageTextEncoder, selection: Selection
) -> dict:
    """Describe the captions and embeddings, so that later stages find them and detect changes."""
    where = {} if given is None else {"embeddings": given.described()}
    return {
        "preprocessing": encoder.preprocessing,
        "corpus": selection.digest,
        "files": list(source.files),
        **where,
    }


def written(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Write each table of captions when it is yielded."""
    first = next(tables)
    with table_in_parts(paths.CAPTIONS / "captions.parquet", first.schema) as writer:
        for table in chain([first], tables):
            writer.write_table(table)
            yield table
