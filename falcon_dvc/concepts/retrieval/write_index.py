"""Write the caption index: embeddings, their description, and an approximate index if asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import INTACT, finished, read_array
from falcon_dvc.captions.corpus_file import CaptionSource
from falcon_dvc.captions.selection import Selection
from falcon_dvc.captions.vectors import GivenEmbeddings
from falcon_dvc.compute.executor import Executor, Task
from falcon_dvc.compute.resume import Checkpoint
from falcon_dvc.concepts.retrieval.approximate import Approximation, build_index
from falcon_dvc.concepts.retrieval.parquet_stream import row_groups, table_in_parts
from falcon_dvc.embeddings import Rows
from falcon_dvc.errors import UserError
from falcon_dvc.models.image_text.base import ImageTextEncoder
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.params.schema import BuildCaptionIndex


# Captions that are embedded, and that are written, together: multiples of the encoders' batches, so that they change no batch.
EMBEDDED_AT_ONCE = 4096
ROWS_AT_ONCE = 65_536


def in_row_groups(parts: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Cut a table that comes in parts into parts of `ROWS_AT_ONCE` rows."""
    return row_groups(parts, ROWS_AT_ONCE)


def write_embedded(
    parts: Iterator[pa.Table], load: Callable[[], ImageTextEncoder], count: int, work: Checkpoint, executor: Executor
) -> None:
    """The captions and their embeddings."""
    embeddings = work.array("embeddings.npy", (count, load().dim), np.float32)
    parts = track(written(parts), "embedding captions", total=-(-count // ROWS_AT_ONCE))
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


def embeddings(given: GivenEmbeddings | None, selection: Selection) -> Rows:
    """The embeddings of the captions kept, read where asked for."""
    if given is None or selection.embeddings is None:
        return read_array(paths.CAPTIONS / "embeddings.npy")
    return given.unit(selection.embeddings)


def write_index(texts: Rows, settings: BuildCaptionIndex) -> dict:
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


def described(
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


def written(parts: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The captions, each part written when it is given."""
    first = next(parts)
    with table_in_parts(paths.CAPTIONS / "captions.parquet", first.schema) as writer:
        for part in chain([first], parts):
            writer.write_table(part)
            yield part
