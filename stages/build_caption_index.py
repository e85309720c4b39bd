"""Clean and embed the caption corpus once (step 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stages.common import files
from stages.common.artifacts import write_array, write_json, write_table
from stages.models.device import best_device
from stages.models.image_text import load_image_text
from stages.sources.captions import read_captions

if TYPE_CHECKING:
    from stages.common.params import Params


def run(params: Params) -> None:
    """Write ``captions.parquet`` and ``embeddings.npy`` (row by row alike), ``index.json`` and the counts."""
    corpus = read_captions(params.data.captions)
    encoder = load_image_text(params.image_text, best_device())
    write_table(files.CAPTIONS / "captions.parquet", corpus.table)
    write_array(files.CAPTIONS / "embeddings.npy", encoder.embed_texts(corpus.table["text"].tolist()))
    write_json(
        files.CAPTIONS / "index.json",
        {"image_text": encoder.fingerprint, "captions": len(corpus.table), "dim": encoder.dim},
    )
    write_json(
        files.metrics("captions"),
        {
            "captions": len(corpus.table),
            "duplicates": corpus.duplicates,
            "empty": corpus.empty,
            "cut": corpus.cut,
            "undecodable": corpus.undecodable,
        },
    )
