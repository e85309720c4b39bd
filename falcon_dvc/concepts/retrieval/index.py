"""Read the caption index: numbers and embeddings of the captions, and columns of the project's tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_json
from falcon_dvc.embeddings import Rows, UnitRows, open_embeddings
from falcon_dvc.errors import UserError

MADE_AGAIN = "run `dvc repro -f build_caption_index`"


def read_captions() -> tuple[pd.DataFrame, Rows, dict]:
    """Read the numbers and embeddings of the captions, in the same rows, and ``index.json``.

    Raises
    ------
    UserError
        If a file is missing, or if given embeddings have changed.
    """
    index = read_json(paths.CAPTIONS / "index.json")
    if not isinstance(index, dict) or "image_text" not in index:
        raise UserError(f"{paths.CAPTIONS / 'index.json'}: has no key image_text; {MADE_AGAIN}")
    given = index.get("embeddings")
    columns = ["caption", "embedding"] if given else ["caption"]
    captions = read_columns(paths.CAPTIONS / "captions.parquet", columns).to_pandas()
    path = paths.CAPTIONS / "embeddings.npy"
    embeddings = _given(given, captions["embedding"].to_numpy()) if given else read_array(path)
    if len(captions) != embeddings.shape[0]:
        raise UserError(
            f"{paths.CAPTIONS}: {len(captions)} captions but {embeddings.shape[0]} embeddings; {MADE_AGAIN}"
        )
    return captions, embeddings, index


def read_columns(path: Any, columns: list[str]) -> pa.Table:
    """Read columns of a table of the project.

    Texts are read as codes, so that a corpus of millions fits the memory.

    Raises
    ------
    UserError
        If the file is missing or is no such table.
    """
    with naming(path):
        schema = pq.read_schema(path)
        texts = [name for name in columns if pa.types.is_string(schema.field(name).type)]
        return pq.read_table(path, columns=columns, read_dictionary=texts)


@contextmanager
def naming(path: Any) -> Iterator[None]:
    """Turn errors while reading a table into one message that names the table."""
    try:
        yield
    except (OSError, KeyError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{path}: not a readable table ({reason}); run `dvc repro` to make it again") from error


def factorised(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes of a column of texts, and the texts in alphabetical order.

    A text may occur in no row.
    """
    whole = column.unify_dictionaries().combine_chunks()
    texts = whole.dictionary.to_numpy(zero_copy_only=False).astype(object)
    order = np.argsort(texts, kind="stable")
    place = np.empty(len(texts), dtype=np.int64)
    place[order] = np.arange(len(texts))
    return place[whole.indices.to_numpy()], texts[order]


def occurring(codes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the codes below `size` that occur, ascending, and the place of each code among them.

    This avoids sorting, since there may be many millions of codes.
    """
    occurs = np.zeros(size, dtype=bool)
    occurs[codes] = True
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[codes]


def _given(described: list[dict], rows: np.ndarray) -> UnitRows:
    """Open the embeddings that came with the corpus, at their own paths."""
    arrays = [open_embeddings(entry["file"]) for entry in described]
    for entry, array in zip(described, arrays, strict=True):
        if len(array) != entry["rows"]:
            raise UserError(f"{entry['file']}: {len(array)} embeddings, {entry['rows']} when indexed; {MADE_AGAIN}")
    return UnitRows(arrays, rows)
