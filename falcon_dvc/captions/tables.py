"""Captions in tables: a column of CSV, TSV or parquet files, a key of JSON lines, the annotations of a COCO file."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from io import BufferedReader
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from falcon_dvc.captions.corpus_file import (
    ROWS_AT_ONCE,
    Batch,
    as_text,
    decoded,
    in_batches,
    refuse_other_than_text,
    short_lines,
)
from falcon_dvc.errors import UserError

COLUMNS = ("caption", "text", "TEXT", "title")
BLOCK_BYTES = 8 << 20  # of a CSV file; a row must fit
MAX_OBJECT_BYTES = 16 << 20  # of a JSON line
SEPARATORS = {".csv": ",", ".tsv": "\t"}


class TableFiles:
    """A column of CSV, TSV or parquet files.

    Parameters
    ----------
    files : their suffix says what they are.
    column : "" for the first of `COLUMNS` that there is.
    """

    unit = "rows"

    def __init__(self, files: Sequence[str], column: str = "") -> None:
        self.files, self._column = files, column

    def batches(self) -> Iterator[Batch]:
        """Give all rows.

        Raises
        ------
        UserError
            If a file is missing, no table, or has no such column of text.
        """
        for number, path in enumerate(self.files):
            row = 0
            for column in _guarded(path, _columns(path, self._column)):
                texts, undecodable = _texts(path, column)
                yield Batch(number, row, texts, undecodable)
                row += len(texts)


def _columns(path: str, column: str) -> Iterator[pa.Array]:
    """The column of one file, in parts."""
    if Path(path).suffix.lower() in SEPARATORS:
        yield from _csv_columns(path, column, SEPARATORS[Path(path).suffix.lower()])
    else:
        yield from parquet_columns(path, column)


def parquet_columns(path: str, column: str) -> Iterator[pa.Array]:
    """A column of a parquet file, in parts."""
    with pq.ParquetFile(path) as file:
        name = chosen_column(path, file.schema_arrow.names, column)
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=[name]):
            yield batch.column(0)


def _csv_columns(path: str, column: str, separator: str) -> Iterator[pa.Array]:
    """A column of a CSV file, in parts; quoted cells may hold line ends."""
    header = _header(path, separator)
    name = chosen_column(path, header, column)
    reader = arrow_csv.open_csv(
        path,
        arrow_csv.ReadOptions(block_size=BLOCK_BYTES),
        # With a single column an empty line is an empty cell, which has a number; with more there can be no such row.
        arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=True, ignore_empty_lines=len(header) > 1),
        arrow_csv.ConvertOptions(include_columns=[name], column_types={name: pa.binary()}, strings_can_be_null=False),
    )
    with reader:
        for batch in reader:
            yield batch.column(0)


def _header(path: str, separator: str) -> list[str]:
    with Path(path).open("rb") as raw:
        refuse_other_than_text(path, raw)
    with Path(path).open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return next(csv.reader(file, delimiter=separator), [])


def chosen_column(path: str, names: Sequence[str], column: str) -> str:
    """The column that was asked for, or the first of `COLUMNS` that there is.

    Raises
    ------
    UserError
        If it is not there, or there twice.
    """
    wanted = (column,) if column else COLUMNS
    found = [name for name in wanted if name in names]
    if not found:
        raise UserError(
            f"data.captions: {path} has no column {' or '.join(wanted)}; set data.caption_column to one of: {_listed(names)}"
        )
    if list(names).count(found[0]) > 1:
        raise UserError(f"data.captions: {path} has several columns {found[0]}; set data.caption_column to another")
    return found[0]


def _listed(names: Sequence[str]) -> str:
    """Some names on one line."""
    return " ".join(", ".join(map(str, names[:20])).split())[:300] or "none"


def _texts(path: str, column: pa.Array) -> tuple[list[str | None], int]:
    """The cells of a column as texts, and how many are not UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())  # a file may hold other bytes than it promises
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return decoded(column.to_pylist())
    try:
        return [as_text(value) for value in column.to_pylist()], 0
    except TypeError as error:
        raise UserError(f"data.captions: {path}: {error}; set data.caption_column to a column of text") from error


def _guarded(path: str, parts: Iterable[pa.Array]) -> Iterator[pa.Array]:
    """Turn what goes wrong while reading into one line."""
    try:
        yield from parts
    except (OSError, csv.Error, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"data.captions: {path} is not a readable table ({reason})") from error


class JsonLines:
    """Files with one JSON object a line; a caption's row is its line.

    Parameters
    ----------
    column : key of the caption; "" for the first of `COLUMNS` that the first object has.
    """

    unit = "lines"

    def __init__(self, files: Sequence[str], column: str = "") -> None:
        self.files, self._column = files, column

    def batches(self) -> Iterator[Batch]:
        """Give all lines; an empty line is a missing caption.

        Raises
        ------
        UserError
            If a file is missing, or a line is no JSON object with a text.
        """
        for number, path in enumerate(self.files):
            try:
                with Path(path).open("rb") as file:
                    refuse_other_than_text(path, file)
                    yield from _json_batches(number, path, file, self._column)
            except OSError as error:
                raise UserError(f"data.captions: {path} cannot be read ({error.strerror})") from error


def _json_batches(number: int, path: str, file: BufferedReader, column: str) -> Iterator[Batch]:
    row = 0
    for raw in in_batches(short_lines(file, MAX_OBJECT_BYTES), ROWS_AT_ONCE):
        texts, undecodable = decoded(raw)
        objects = [_object(path, row + place, text or "") for place, text in enumerate(texts)]
        if not column and any(objects):
            column = chosen_column(path, list(next(filter(None, objects))), "")
        yield Batch(number, row, [_value(path, row + at, some, column) for at, some in enumerate(objects)], undecodable)
        row += len(raw)


def _object(path: str, row: int, line: str) -> dict:
    """One line of JSON."""
    if not line.strip():
        return {}
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"data.captions: {path}, line {row + 1}: no JSON ({reason}); give one object a line") from error
    if not isinstance(found, dict):
        raise UserError(f"data.captions: {path}, line {row + 1}: no JSON object; give one object a line")
    return found


def _value(path: str, row: int, found: dict, column: str) -> str | None:
    """The caption of one object."""
    try:
        return as_text(found.get(column))
    except TypeError as error:
        raise UserError(f"data.captions: {path}, line {row + 1}: {error}; set data.caption_column") from error


class CocoFiles:
    """Annotation files of COCO: ``{"annotations": [{"id": 7, "caption": "a cat"}, ...]}``, each read whole."""

    unit = "annotations"

    def __init__(self, files: Sequence[str]) -> None:
        self.files = files

    def batches(self) -> Iterator[Batch]:
        """Give all annotations with their ids.

        Raises
        ------
        UserError
            If a file is missing or is no such file, or an annotation has no whole number as id.
        """
        for number, path in enumerate(self.files):
            annotations = _annotations(path)
            for row in range(0, len(annotations), ROWS_AT_ONCE):
                some = annotations[row : row + ROWS_AT_ONCE]
                yield Batch(number, row, [_caption(path, one) for one in some], ids=_ids(path, some))


def _annotations(path: str) -> list[dict]:
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"data.captions: {path} is not readable JSON ({reason})") from error
    annotations = found.get("annotations") if isinstance(found, dict) else None
    if not isinstance(annotations, list) or not all(isinstance(one, dict) for one in annotations):
        raise UserError(f"data.captions: {path} has no list of annotations; give a caption file of COCO")
    return annotations


def _caption(path: str, annotation: dict) -> str | None:
    try:
        return as_text(annotation.get("caption"))
    except TypeError as error:
        raise UserError(f"data.captions: {path}: annotation {annotation.get('id')!r:.40}: {error}") from error


def _ids(path: str, annotations: list[dict]) -> np.ndarray:
    ids = [one.get("id") for one in annotations]
    if not all(type(one) is int and abs(one) < 2**63 for one in ids):
        raise UserError(f"data.captions: {path}: an annotation has no whole number as id")
    return np.array(ids, dtype=np.int64)
