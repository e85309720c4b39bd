"""Clean and embed the caption corpus once, or take the embeddings that come with it (step 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from stages.common import files
from stages.common.account import Account
from stages.common.artifacts import INTACT, finished, read_array, write_json
from stages.common.errors import UserError
from stages.common.progress import track
from stages.common.streamed import row_groups, table_in_parts
from stages.common.unfinished import Part, unfinished
from stages.method.approximate import Approximation, build_index
from stages.method.rows import Rows
from stages.models.device import best_device
from stages.models.image_text import ImageTextEncoder, load_image_text
from stages.sources.caption_formats import is_plain, open_captions, open_given
from stages.sources.caption_selection import Selection, select, selected
from stages.sources.caption_vectors import GivenEmbeddings
from stages.sources.captions import CaptionSource

if TYPE_CHECKING:
    from stages.common.params import BuildCaptionIndex, Params

# Captions that are embedded, and that are written, together: multiples of the encoders' batches, so that they change no batch.
EMBEDDED_AT_ONCE = 4096
ROWS_AT_ONCE = 65_536


def run(params: Params) -> Account:
    """Index the corpus with the run's image-text encoder."""
    return build(params, cache(lambda: load_image_text(params.image_text, best_device())))


def build(params: Params, load: Callable[[], ImageTextEncoder]) -> Account:
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
        made_of = {
            "corpus": selection.digest,
            "image_text": params.image_text.model_dump(mode="json"),
            "fingerprint": encoder.fingerprint,
        }
        with unfinished("build_caption_index") as work:
            _write_embedded(parts, encoder, len(selection.captions), work.part("captions", made_of))
    else:
        _write_captions(parts)
    approximate = _write_index(_embeddings(given, selection), params.build_caption_index)
    write_json(
        files.CAPTIONS / "index.json",
        {
            "image_text": encoder.fingerprint,
            "captions": len(selection.captions),
            "dim": encoder.dim,
            **_described(source, given, encoder, selection),
            **approximate,
        },
    )
    account = _account(selection, given)
    write_json(files.metrics("captions"), {**_counts(selection, given), **account.metrics})
    return account


def _write_embedded(parts: Iterator[pa.Table], encoder: ImageTextEncoder, count: int, work: Part) -> None:
    """The captions and their embeddings."""
    embeddings = work.array("embeddings.npy", (count, encoder.dim), np.float32)

    def embedded() -> Iterator[pa.Table]:
        first = 0
        for part in track(parts, "embedding captions", total=-(-count // ROWS_AT_ONCE)):
            _embed(part["text"], first, embeddings, encoder, work)
            first += len(part)
            yield part

    _write_captions(embedded())
    work.give("embeddings.npy", files.CAPTIONS / "embeddings.npy")


def _embed(texts: pa.ChunkedArray, first: int, embeddings: np.ndarray, encoder: ImageTextEncoder, work: Part) -> None:
    """Embed captions, of which `first` is the first one's row, but for those that are finished."""
    for start in range(0, len(texts), EMBEDDED_AT_ONCE):
        some = texts.slice(start, EMBEDDED_AT_ONCE).to_pylist()
        rows = slice(first + start, first + start + len(some))
        if rows.stop > work.finished:
            embeddings[rows] = encoder.embed_texts(some)
            work.note(rows.stop)


def _write_captions(parts: Iterator[pa.Table]) -> None:
    first = next(parts)
    with table_in_parts(files.CAPTIONS / "captions.parquet", first.schema) as writer:
        writer.write_table(first)
        for part in parts:
            writer.write_table(part)


def _embeddings(given: GivenEmbeddings | None, selection: Selection) -> Rows:
    """The embeddings of the captions kept, read where asked for."""
    if given is None or selection.embeddings is None:
        return read_array(files.CAPTIONS / "embeddings.npy")
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
    path = files.CAPTIONS / "index.faiss"
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


def _account(selection: Selection, given: GivenEmbeddings | None) -> Account:
    kept = len(selection.captions)
    return Account(
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
        wrote={f"rows to {files.CAPTIONS / 'captions.parquet'}": kept, "embeddings": kept if given is None else 0},
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
