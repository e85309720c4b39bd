"""Read pictures from parquet files in the formats of Hugging Face datasets and img2dataset, one row group at a time."""

from __future__ import annotations

import bisect
import io
import itertools
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from falcon_dvc.errors import UserError
from falcon_dvc.images.containers import containers
from falcon_dvc.images.decode import UnreadableImageError, decoded, printable
from falcon_dvc.images.listing import Collection, numbered
from falcon_dvc.progress import track

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

SUFFIXES = (".parquet", ".parq", ".pq")
AS_PARQUET = "is not read; save as parquet"
OTHERS = {
    ".arrow": f"Arrow {AS_PARQUET} (Dataset.to_parquet)",
    ".feather": f"Feather {AS_PARQUET}",
    ".gz": "packed files are not read; unpack with `gzip -d`",
}
COLUMNS = ("image", "bytes", "jpg")
KEYS = ("key", "image_id", "id")
# Largest row group: to read one picture, its whole row group is read.
MAX_GROUP_BYTES = 512 * 1024**2
# Damaged metadata of a few bytes can claim any number of rows.
MAX_ROWS = 20_000_000
# Row groups that are kept in memory, so that neighbouring pictures need one read.
KEPT_GROUPS = 2
BATCH = 16


@dataclass(frozen=True)
class File:
    """What one file holds besides pictures.

    Attributes
    ----------
    path : Path
        The file.
    column : str
        Path of the column that holds the encoded pictures.
    groups : list of int
        Number of rows of each row group.
    ids : list of str
        ``FILE:ROW`` of each row.
    keys : list of str or None
        Value of each row in a column of keys, if there is one.
    labels : list of str
        Class of each row; "" if it has none.
    """

    path: Path
    column: str
    groups: list[int]
    ids: list[str]
    keys: list[str] | None
    labels: list[str]


def find_in_parquet(path: str | Path) -> Collection:
    """Find the pictures in a parquet file or in the parquet files of a folder, without reading them.

    The pictures are the encoded files in the column image (a struct with a field bytes, or binary), bytes or jpg. A
    column key, image_id or id gives the ids if no value is missing and all differ over all files. Otherwise the ids are
    ``FILE:ROW``, with rows counted from 0. Labels come from a column label, as names if the file holds the names.

    Raises
    ------
    UserError
        If no parquet file can be read, or if a file has no column of pictures, too many rows, or too large row groups.
    """
    found = containers(path, SUFFIXES, OTHERS)
    files_or_reasons = [_read_file(name, file) for name, file in track(found.files, "Reading tables")]
    files = [file for file in files_or_reasons if isinstance(file, File)]
    damaged = [reason for reason in files_or_reasons if isinstance(reason, str)]
    ids = _ids(files)
    if not ids:
        cause = f" ({damaged[0]})" if damaged else ""
        raise UserError(
            f"data.images: no rows in the parquet files of {path}{cause}; point data.images at tables of images"
        )
    labels = [label for file in files for label in file.labels]
    return Collection(str(path), ids, labels, RowGroups(files).picture, damaged=damaged, unopened=found.unopened)


def _ids(files: list[File]) -> list[str]:
    """Return the keys if every file has them and all differ, else file and row."""
    keys = [key for file in files for key in file.keys or []]
    everywhere = all(file.keys is not None for file in files)
    return keys if everywhere and len(set(keys)) == len(keys) else [name for file in files for name in file.ids]


def _read_file(name: str, path: Path) -> File | str:
    """Read the ids and labels of a file, or return ``name: reason`` if it cannot be read."""
    try:
        with _opened(path) as file:
            column = _column(path, file.schema_arrow)
            groups = _groups(path, file)
            ids = [f"{name}:{row}" for row in numbered(sum(groups))]
            read = File(path, column, groups, ids, _keys(file), _labels(file, len(ids)))
    except UserError:
        raise
    except (
        Exception
    ) as error:  # the reader raises anything on a damaged file: OSError, ArrowInvalid, UnicodeDecodeError, ...
        return f"{printable(name)}: cannot be read ({_first_line(error)})"
    alike = len(ids) == len(read.labels) == len(read.keys or ids)
    return read if alike else f"{printable(name)}: cannot be read (columns of different lengths)"


def _first_line(error: Exception) -> str:
    """Return the start of an error's message, on one line."""
    return printable(str(error).partition("\n")[0])[:200]


def _opened(path: Path) -> pq.ParquetFile:
    """Open a file so that only the pages in use are in memory."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(path, memory_map=False, pre_buffer=False, buffer_size=1024**2)


def _column(path: Path, schema: pa.Schema) -> str:
    """Return the path of the column that holds the encoded pictures."""
    import pyarrow.types as types

    for name in (name for name in COLUMNS if schema.get_field_index(name) >= 0):
        kind = schema.field(name).type
        if types.is_binary(kind) or types.is_large_binary(kind):
            return name
        if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            return f"{name}.bytes"
    shown = ", ".join(f"{printable(column.name)} ({column.type})"[:60] for column in schema)
    raise UserError(
        f"data.images: {path} has no column of encoded pictures (image, bytes or jpg; it has: {shown}); write them as bytes"
    )


def _groups(path: Path, file: pq.ParquetFile) -> list[int]:
    """Return the number of rows of each row group; raise if a group is too large for memory."""
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    for number, group in enumerate(groups):
        # The size of the one column is not read: pyarrow aborts the process if the metadata of a column are damaged.
        if group.total_byte_size > MAX_GROUP_BYTES:
            raise UserError(
                f"data.images: {path}: row group {number} has {group.total_byte_size} bytes, more than {MAX_GROUP_BYTES}; "
                "write the file again with smaller row groups (row_group_size=100)"
            )
    if sum(group.num_rows for group in groups) > MAX_ROWS:
        raise UserError(f"data.images: {path} has more than {MAX_ROWS} rows; explain a part of them")
    return [group.num_rows for group in groups]


def _values(file: pq.ParquetFile, column: str) -> Iterator[Any]:
    """Yield the values of a column; read them in batches."""
    for batch in file.iter_batches(batch_size=65_536, columns=[column]):
        yield from batch.column(0).to_pylist()


def _is_text_or_integer(schema: pa.Schema, column: str) -> bool:
    """Return whether the column exists exactly once and holds texts or integers."""
    import pyarrow.types as types

    index = schema.get_field_index(column)
    kind = schema.field(index).type if index >= 0 else None
    kind = kind.value_type if kind is not None and types.is_dictionary(kind) else kind
    return kind is not None and (types.is_string(kind) or types.is_large_string(kind) or types.is_integer(kind))


def _keys(file: pq.ParquetFile) -> list[str] | None:
    """Return the first column of `KEYS` without missing or repeated values; None if there is no such column."""
    for name in KEYS:
        if _is_text_or_integer(file.schema_arrow, name):
            values = list(_values(file, name))
            if not {None, ""} & set(values) and len(set(values)) == len(values):
                return [str(value) for value in values]
    return None


def _labels(file: pq.ParquetFile, rows: int) -> list[str]:
    """Return the label of each row; "" if there is none."""
    if not _is_text_or_integer(file.schema_arrow, "label"):
        return [""] * rows
    names = _class_names(file.schema_arrow.metadata or {})
    return [_label(value, names) for value in _values(file, "label")]


def _label(value: int | str | None, names: list[str]) -> str:
    """Return the class name for a number, or the value as text."""
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return "" if value is None else str(value)


def _class_names(metadata: dict[bytes, bytes]) -> list[str]:
    """Read the class names from the metadata of Hugging Face datasets; an empty list if they are missing."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []


class RowGroups:
    """The pictures of parquet files, numbered over all files. The row groups read last stay in memory.

    Parameters
    ----------
    files : list of File
        In the order of the rows.
    """

    def __init__(self, files: list[File]) -> None:
        self._groups = [(file, group) for file in files for group in range(len(file.groups))]
        self._starts = list(itertools.accumulate((rows for file in files for rows in file.groups), initial=0))
        self._kept: OrderedDict[int, pa.ChunkedArray | str] = OrderedDict()
        self._lock = threading.Lock()

    def picture(self, row: int) -> Image.Image:
        """Decode one picture.

        Raises
        ------
        UnreadableImageError
            If its row group cannot be read, or its row holds no bytes or no picture.
        """
        number = bisect.bisect_right(self._starts, row) - 1
        values = self._values(number)
        if isinstance(values, str):
            raise UnreadableImageError(values)
        if row - self._starts[number] >= len(values):
            raise UnreadableImageError("its row is missing")
        value = values[row - self._starts[number]].as_py()
        content = value["bytes"] if isinstance(value, dict) else value
        if content is None:
            raise UnreadableImageError("no bytes in its row")
        return decoded(io.BytesIO(content))

    def _values(self, number: int) -> pa.ChunkedArray | str:
        """Return the encoded pictures of a row group, or why they cannot be read."""
        with self._lock:
            if number not in self._kept:
                if len(self._kept) >= KEPT_GROUPS:
                    self._kept.popitem(last=False)
                self._kept[number] = _read_group(*self._groups[number])
            self._kept.move_to_end(number)
            return self._kept[number]


def _read_group(file: File, group: int) -> pa.ChunkedArray | str:
    """Read the encoded pictures of a row group, or return why they cannot be read.

    Small batches bound the memory: decoded dictionaries can be far larger than the metadata say.
    """
    import pyarrow as pa

    batches: list[pa.Array] = []
    total_bytes = 0
    try:
        with _opened(file.path) as opened:
            for batch in opened.iter_batches(batch_size=BATCH, row_groups=[group], columns=[file.column]):
                batches.append(batch.column(0))
                total_bytes += batches[-1].nbytes
                if total_bytes > MAX_GROUP_BYTES:
                    return f"its row group holds more than {MAX_GROUP_BYTES} bytes"
    except Exception as error:  # as in `_read_file`
        return f"its row group cannot be read ({_first_line(error)})"
    return pa.chunked_array(batches) if batches else "its row is missing"
