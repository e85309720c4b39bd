"""Clean and embed the caption corpus once, or take the embeddings that come with it (step 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING

import pyarrow as pa

from stages.common import files
from stages.common.artifacts import read_array, write_json
from stages.common.errors import UserError
from stages.common.streamed import array_in_parts, finished, row_groups, table_in_parts
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

# Captions that are embedded and written together: a multiple of the encoders' batches, so that it changes no batch.
ROWS_AT_ONCE = 65_536


def run(params: Params) -> None:
    """Index the corpus with the run's image-text encoder."""
    build(params, cache(lambda: load_image_text(params.image_text, best_device())))


def build(params: Params, load: Callable[[], ImageTextEncoder]) -> None:
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
        _write_embedded(parts, encoder, len(selection.captions))
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
    write_json(files.metrics("captions"), _counts(selection, given))


def _write_embedded(parts: Iterator[pa.Table], encoder: ImageTextEncoder, count: int) -> None:
    """The captions and their embeddings."""
    with array_in_parts(files.CAPTIONS / "embeddings.npy", (count, encoder.dim)) as embeddings:
        first = 0

        def embedded() -> Iterator[pa.Table]:
            nonlocal first
            for part in parts:
                embeddings[first : first + len(part)] = encoder.embed_texts(part["text"].to_pylist())
                first += len(part)
                yield part

        _write_captions(embedded())


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
    with finished(files.CAPTIONS / "index.faiss") as name:
        faiss.write_index(index, str(name))
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


def _counts(selection: Selection, given: GivenEmbeddings | None) -> dict[str, int]:
    counts = {
        "captions": len(selection.captions),
        "duplicates": selection.duplicates,
        "empty": selection.empty,
        "cut": selection.cut,
        "undecodable": selection.undecodable,
    }
    return counts if given is None else {**counts, "without_embedding": selection.without_embedding}
