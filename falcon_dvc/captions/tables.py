"""Read captions from tables: a column of CSV, TSV or parquet, a key of JSON lines, the annotations of a COCO file."""

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
    FilesOfCaptions,
    as_text,
    decoded,
    in_batches,
    refuse_other_than_text,
    short_lines,
)
from falcon_dvc.errors import UserError, one_line

COLUMNS = ("caption", "text", "TEXT", "title")
BLOCK_BYTES = 8 << 20  # of a CSV file; a row must fit
MAX_OBJECT_BYTES = 16 << 20  # of a JSON line
SEPARATORS = {".csv": ",", ".tsv": "\t"}


class FilesWithColumns(FilesOfCaptions):
    """Files of which one column holds the captions.

    Parameters
    ----------
    files : sequence of str
        The files, in the order of the captions.
    column : str
        "" for the first of `COLUMNS` that the file has.
    """

    def __init__(self, files: Sequence[str], column: str = "") -> None:
        super().__init__(files)
        self._column = column


class TableFiles(FilesWithColumns):
    """A column of CSV, TSV or parquet files. The suffix of a file determines its format."""

    unit = "rows"

    def batches(self) -> Iterator[Batch]:
        """Yield all rows.

        Raises
        ------
        UserError
            If a file is missing, is no table, or has no such column of text.
        """
        for number, path in enumerate(self.files):
            row = 0
            for column in _reporting_errors(path, _columns(path, self._column)):
                texts, undecodable = _texts(path, column)
                yield Batch(number, row, texts, undecodable)
                row += len(texts)


def _columns(path: str, column: str) -> Iterator[pa.Array]:
    """Yield the column of one file, in batches."""
    if Path(path).suffix.lower() in SEPARATORS:
        yield from _csv_columns(path, column, SEPARATORS[Path(path).suffix.lower()])
    else:
        yield from parquet_columns(path, column)


def parquet_columns(path: str, column: str) -> Iterator[pa.Array]:
    """Yield a column of a parquet file, in batches."""
    with pq.ParquetFile(path) as file:
        name = chosen_column(path, file.schema_arrow.names, column)
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=[name]):
            yield batch.column(0)


def _csv_columns(path: str, column: str, separator: str) -> Iterator[pa.Array]:
    """Yield a column of a CSV file, in batches; quoted cells may hold line ends."""
    header = _header(path, separator)
    name = chosen_column(path, header, column)
    reader = arrow_csv.open_csv(
        path,
        arrow_csv.ReadOptions(block_size=BLOCK_BYTES),
        # With a single column, an empty line is an empty cell and has a row number. With more columns it is no row.
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
    """Return the requested column, or the first of `COLUMNS` that the file has.

    Raises
    ------
    UserError
        If the column is missing or occurs twice.
    """
    wanted = (column,) if column else COLUMNS
    existing = [name for name in wanted if name in names]
    if not existing:
        raise UserError(
            f"data.captions: {path} has no column {' or '.join(wanted)}; set data.caption_column to one of: {_one_line(names)}"
        )
    if list(names).count(existing[0]) > 1:
        raise UserError(f"data.captions: {path} has several columns {existing[0]}; set data.caption_column to another")
    return existing[0]


def _one_line(names: Sequence[str]) -> str:
    """Return the first names on one line, for a message."""
    return " ".join(", ".join(map(str, names[:20])).split())[:300] or "none"


def _texts(path: str, column: pa.Array) -> tuple[list[str | None], int]:
    """Return the cells of a column as texts, and the number of cells that are not UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())  # a damaged file may hold other bytes than UTF-8
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return decoded(column.to_pylist())
    try:
        return [as_text(value) for value in column.to_pylist()], 0
    except TypeError as error:
        raise UserError(f"data.captions: {path}: {error}; set data.caption_column to a column of text") from error


def _reporting_errors(path: str, columns: Iterable[pa.Array]) -> Iterator[pa.Array]:
    """Yield columns; report an error of the reader in one line."""
    try:
        yield from columns
    except (OSError, csv.Error, pa.ArrowException) as error:
        reason = one_line(error)
        raise UserError(f"data.captions: {path} is not a readable table ({reason})") from error


class JsonLines(FilesWithColumns):
    """Files with one JSON object a line. A caption's row is its line, and the column is a key of the object."""

    unit = "lines"

    def batches(self) -> Iterator[Batch]:
        """Yield all lines; an empty line is a missing caption.

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
        captions = [_value(path, row + place, fields, column) for place, fields in enumerate(objects)]
        yield Batch(number, row, captions, undecodable)
        row += len(raw)


def _object(path: str, row: int, line: str) -> dict:
    """Parse one line of JSON; an empty line gives an empty object."""
    if not line.strip():
        return {}
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = one_line(error, 120)
        raise UserError(
            f"data.captions: {path}, line {row + 1}: not valid JSON ({reason}); give one object a line"
        ) from error
    if not isinstance(fields, dict):
        raise UserError(f"data.captions: {path}, line {row + 1}: not a JSON object; give one object a line")
    return fields


def _value(path: str, row: int, fields: dict, column: str) -> str | None:
    """Return the caption of one object."""
    try:
        return as_text(fields.get(column))
    except TypeError as error:
        raise UserError(f"data.captions: {path}, line {row + 1}: {error}; set data.caption_column") from error


class CocoFiles(FilesOfCaptions):
    """Annotation files of COCO: ``{"annotations": [{"id": 7, "caption": "a cat"}, ...]}``. Each is read into memory."""

    unit = "annotations"

    def batches(self) -> Iterator[Batch]:
        """Yield all annotations with their ids.

        Raises
        ------
        UserError
            If a file is missing or has another format, or the id of an annotation is no integer.
        """
        for number, path in enumerate(self.files):
            annotations = _annotations(path)
            for row in range(0, len(annotations), ROWS_AT_ONCE):
                block = annotations[row : row + ROWS_AT_ONCE]
                captions = [_caption(path, annotation) for annotation in block]
                yield Batch(number, row, captions, ids=_ids(path, block))


def _annotations(path: str) -> list[dict]:
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        reason = one_line(error, 120)
        raise UserError(f"data.captions: {path} is not readable JSON ({reason})") from error
    annotations = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(annotations, list) or not all(isinstance(annotation, dict) for annotation in annotations):
        raise UserError(f"data.captions: {path} has no list of annotations; give a caption file of COCO")
    return annotations


def _caption(path: str, annotation: dict) -> str | None:
    try:
        return as_text(annotation.get("caption"))
    except TypeError as error:
        raise UserError(f"data.captions: {path}: annotation {annotation.get('id')!r:.40}: {error}") from error


def _ids(path: str, annotations: list[dict]) -> np.ndarray:
    ids = [annotation.get("id") for annotation in annotations]
    if not all(type(key) is int and abs(key) < 2**63 for key in ids):
        raise UserError(f"data.captions: {path}: an annotation has no whole number as id")
    return np.array(ids, dtype=np.int64)
