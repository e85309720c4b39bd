"""Read captions from tables: columns of parquet files and of text such as CSV and TSV."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from falcon_dvc.captions.cells import Texts, several, unpacked
from falcon_dvc.captions.corpus_file import ROWS_AT_ONCE, Batch, FilesOfCaptions, decoded, in_batches, short_lines
from falcon_dvc.captions.delimited import Dialect, Row, rows_of
from falcon_dvc.captions.dialects import SAMPLED, dialect_of, table_in_text
from falcon_dvc.captions.names import chosen_columns
from falcon_dvc.captions.text_file import COMPRESSED, opened
from falcon_dvc.errors import UserError, one_line

MAX_ROW_BYTES = 1 << 20  # of a line of a table of text; the rest is skipped
PARQUET = b"PAR1"


class FilesWithColumns(FilesOfCaptions):
    """Files in which a column holds the captions.

    Parameters
    ----------
    files : sequence of str
        The files, in the order of the captions.
    column : str
        "" to choose it by its name, as `chosen_columns` does.
    """

    def __init__(self, files: Sequence[str], column: str = "") -> None:
        super().__init__(files)
        self._column = column


class TableFiles(FilesWithColumns):
    """A column of parquet files, which are known by their first bytes, or of tables of text."""

    unit = "rows"

    def batches(self) -> Iterator[Batch]:
        """Yield all rows.

        Raises
        ------
        UserError
            If a file is missing, is no table, or has no such column of text.
        """
        for number, path in enumerate(self.files):
            yield from (_of_parquet if is_parquet(path) else _of_text)(number, path, self._column)


def is_parquet(path: str | Path) -> bool:
    """Return whether a file begins like a parquet file, or is named like one and is not text."""
    with opened(path) as file:
        start = file.peek()
    binary = not start or b"\0" in start
    return start.startswith(PARQUET) or (suffix_of(Path(path)) == ".parquet" and binary)


def _of_parquet(number: int, path: str, column: str) -> Iterator[Batch]:
    row = 0
    for cells in _reporting_errors(path, parquet_cells(path, column)):
        texts, undecodable = _texts(path, cells)
        yield batch_of(number, row, texts, undecodable)
        row += texts.count


def parquet_cells(path: str, column: str) -> Iterator[list[pa.Array]]:
    """Yield the columns with captions of a parquet file, in batches of rows."""
    with pq.ParquetFile(path) as file:
        names = chosen_columns(path, file.schema_arrow.names, column)
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=names):
            yield [batch.column(name) for name in names]


def batch_of(
    number: int, row: int, texts: Texts, undecodable: int, misfits: int = 0, of_several_lines: int = 0
) -> Batch:
    """Return a batch of rows, of which the first one has the number `row`."""
    rows = texts.rows_of_several()
    rows = None if rows is None else row + rows
    return Batch(number, row, texts.texts, undecodable, None, rows, misfits, of_several_lines)


def _texts(path: str, columns: Sequence[pa.Array]) -> tuple[Texts, int]:
    """Return the captions of a batch, and the number of cells that are not UTF-8."""
    cells, undecodable = zip(*map(_cells, columns), strict=True)
    texts = Texts()
    try:
        for row in zip(*cells, strict=True):
            texts.add(unpacked(row[0]) if len(row) == 1 else several(row))
    except TypeError as error:
        raise UserError(f"data.captions: {path}: {error}; set data.caption_column to a column of text") from error
    return texts, sum(undecodable)


def _cells(column: pa.Array) -> tuple[list, int]:
    """Return the values of a column, and the number of texts that are not UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())  # a damaged file may hold other bytes than UTF-8
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return decoded(column.to_pylist())
    return column.to_pylist(), 0


def _reporting_errors(path: str, columns: Iterable[list[pa.Array]]) -> Iterator[list[pa.Array]]:
    """Yield columns; report an error of the reader in one line."""
    try:
        yield from columns
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        reason = one_line(error)
        raise UserError(f"data.captions: {path} is not a readable table ({reason})") from error


def _of_text(number: int, path: str, column: str) -> Iterator[Batch]:
    dialect = dialect_of(path, first_lines(path), suffix_of(Path(path)), column)
    row = 0
    with opened(path) as file:
        lines = (text_of(line) for line in short_lines(file, MAX_ROW_BYTES))
        for rows in in_batches(rows_of(lines, dialect), ROWS_AT_ONCE, _size):
            texts, undecodable = _texts_of_rows(rows)
            misfits, long = sum(not one.fits for one in rows), sum(one.lines > 1 for one in rows)
            yield batch_of(number, row, texts, undecodable, misfits, long)
            row += len(rows)


def text_of(line: bytes) -> str:
    """Decode a line; bytes that are not UTF-8 are kept as surrogates."""
    return line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")


def _size(row: Row) -> int:
    return sum(len(text) for text in row.texts if text)


def _texts_of_rows(rows: Sequence[Row]) -> tuple[Texts, int]:
    """Return the captions of rows, and the number of cells that are not UTF-8."""
    cells = [None if text is None else text.encode("utf-8", "surrogateescape") for row in rows for text in row.texts]
    flat, undecodable = decoded(cells)
    width = len(rows[0].texts)
    texts = Texts()
    for place in range(0, len(flat), width):
        texts.add(unpacked(flat[place]) if width == 1 else several(flat[place : place + width]))
    return texts, undecodable


def suffix_of(path: Path) -> str:
    """Return the suffix in lower case, without that of a compression."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix not in COMPRESSED), "")


def first_lines(path: str | Path) -> list[str]:
    """Return the first lines of a file of text."""
    with opened(path) as file:
        return [text_of(line) for line in islice(short_lines(file, MAX_ROW_BYTES), SAMPLED)]


def dialect_in_text(path: str | Path, column: str) -> Dialect | None:
    """Return how a file of text is a table; None if it has one caption a line."""
    return table_in_text(str(path), first_lines(path), column)
