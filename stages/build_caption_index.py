"""Clean the caption corpus and embed it once, or use the embeddings that come with it (step 8)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_json
from falcon_dvc.artifacts.shortfalls import of_captions
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.captions.formats import is_plain, open_captions, open_given
from falcon_dvc.captions.selection import Selection, select, selected
from falcon_dvc.captions.vectors import GivenEmbeddings
from falcon_dvc.compute.device import best_device
from falcon_dvc.compute.executor import PerProcess
from falcon_dvc.compute.resolve import executor_of
from falcon_dvc.compute.resume import resumable
from falcon_dvc.concepts.retrieval.write_index import (
    described,
    embeddings,
    in_row_groups,
    write_centred,
    write_embedded,
    write_index,
    written,
)
from falcon_dvc.errors import UserError
from falcon_dvc.models.image_text.base import ImageTextEncoder
from falcon_dvc.models.image_text.load import load_image_text

if TYPE_CHECKING:
    from falcon_dvc.params.schema import ImageTextSpec, Params


def run(params: Params) -> StageSummary:
    """Index the corpus with the run's image-text encoder."""
    return build(params, PerProcess(_encoder, params.image_text, params.device))


def _encoder(spec: ImageTextSpec, device: str) -> ImageTextEncoder:
    """Load the encoder, in any process."""
    return load_image_text(spec, best_device(device))


def build(params: Params, load: Callable[[], ImageTextEncoder]) -> StageSummary:
    """Write ``captions.parquet``, ``embeddings.npy`` (in the same rows), ``index.json``, ``index.faiss`` and the counts.

    Given embeddings stay at their paths, and ``index.json`` names their files. The encoder is loaded on its first use.
    So a corpus without captions is reported at once.
    """
    source = open_captions(params.data)
    given = open_given(params.data, source, lambda: load().dim)
    if given is not None and params.build_caption_index.centre:
        raise UserError(
            "build_caption_index.centre: embeddings that come with the captions stay as they are; set it to false, or name captions "
            "without embeddings"
        )
    selection = select(source, given)
    encoder = load()
    tables = in_row_groups(selected(source, selection, not is_plain(params.data)))
    if given is None:
        depends_on = {
            "corpus": selection.digest,
            "image_text": params.image_text.model_dump(mode="json"),
            "fingerprint": encoder.fingerprint,
        }
        with executor_of(params, "build_caption_index") as executor, resumable("build_caption_index") as work:
            captions = work.checkpoint("captions", depends_on)
            write_embedded(tables, load, len(selection.captions), captions, executor)
        if params.build_caption_index.centre:
            write_centred()
    else:
        deque(written(tables), maxlen=0)
    approximate = write_index(embeddings(given, selection), params.build_caption_index)
    write_json(
        paths.CAPTIONS / "index.json",
        {
            "image_text": encoder.fingerprint,
            "captions": len(selection.captions),
            "dim": encoder.dim,
            **described(source, given, encoder, selection),
            **({"centred": True} if params.build_caption_index.centre else {}),
            **approximate,
        },
    )
    summary = _summary(selection, given)
    write_json(paths.metrics("captions"), {**_counts(selection, given), **summary.metrics})
    return summary


def _summary(selection: Selection, given: GivenEmbeddings | None) -> StageSummary:
    kept = len(selection.captions)
    return StageSummary(
        read={"captions": selection.lines},
        dropped={
            "captions": {
                "without text": selection.empty - selection.misfits,
                "of rows with another number of cells than the table has columns": selection.misfits,
                "without a usable embedding": selection.without_embedding,
            }
        },
        noted={
            "merged with an earlier one of the same text": selection.duplicates,
            "cut to their first letters": selection.cut,
            "with bytes that are not UTF-8": selection.undecodable,
            "with line ends inside a cell": selection.of_several_lines,
        },
        wrote={f"rows to {paths.CAPTIONS / 'captions.parquet'}": kept, "embeddings": kept if given is None else 0},
        lacking=of_captions({"captions": kept}),
    )


def _counts(selection: Selection, given: GivenEmbeddings | None) -> dict[str, int]:
    counts = {
        "captions": len(selection.captions),
        "duplicates": selection.duplicates,
        "empty": selection.empty,
        "cut": selection.cut,
        "undecodable": selection.undecodable,
    }
    # Of tables of text only, and rare: metrics without these stay as they are.
    rare = {"misfits": selection.misfits, "of_several_lines": selection.of_several_lines}
    counts |= {name: count for name, count in rare.items() if count}
    return counts if given is None else {**counts, "without_embedding": selection.without_embedding}
