"""Pictures in parquet files, as Hugging Face datasets and img2dataset write them: read row group by row group."""

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

COLUMNS = ("image", "bytes", "jpg")
KEYS = ("key", "image_id", "id")
# What one row group may hold: a picture in it is had by reading all of it.
MAX_GROUP_BYTES = 512 * 1024**2
# A few bytes of metadata can claim any number of rows.
MAX_ROWS = 20_000_000
# Row groups that are kept, so that neighbours are read together.
KEPT_GROUPS = 2
BATCH = 16


@dataclass(frozen=True)
class File:
    """What one file holds besides pictures; `groups` are the numbers of rows of its row groups."""

    path: Path
    column: str
    groups: list[int]
    ids: list[str]
    keys: list[str] | None
    labels: list[str]


def find_in_parquet(path: str | Path) -> Collection:
    """Find the pictures in a parquet file or in the parquet files of a folder, without reading them.

    The pictures are the encoded files in the column image (a struct with a field bytes, or binary), bytes or jpg. A
    column key, image_id or id gives the ids if all its values are there and differ over all files; else they are
    ``FILE:ROW``, the row counted from 0. Labels come from a column label, as names where the file says them.

    Raises
    ------
    UserError
        If no parquet file can be read, or one has no column of pictures, too many rows, or row groups that are too large.
    """
    found = [_read_file(name, file) for name, file in track(containers(path, ".parquet"), "Reading tables")]
    files = [file for file in found if isinstance(file, File)]
    damaged = [file for file in found if isinstance(file, str)]
    ids = _ids(files)
    if not ids:
        cause = f" ({damaged[0]})" if damaged else ""
        raise UserError(
            f"data.images: no rows in the parquet files of {path}{cause}; point data.images at tables of images"
        )
    labels = [label for file in files for label in file.labels]
    return Collection(str(path), ids, labels, RowGroups(files).picture, damaged=damaged)


def _ids(files: list[File]) -> list[str]:
    """Give the keys if every file has them and they differ, else file and row."""
    keys = [key for file in files for key in file.keys or []]
    everywhere = all(file.keys is not None for file in files)
    return keys if everywhere and len(set(keys)) == len(keys) else [name for file in files for name in file.ids]


def _read_file(name: str, path: Path) -> File | str:
    """Read the ids and labels of a file; or say as ``name: reason`` why it cannot be read."""
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
    """Give the start of a message, on one line."""
    return printable(str(error).partition("\n")[0])[:200]


def _opened(path: Path) -> pq.ParquetFile:
    """Open a file so that no more than the pages at hand are in memory."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(path, memory_map=False, pre_buffer=False, buffer_size=1024**2)


def _column(path: Path, schema: pa.Schema) -> str:
    """Give the path of the column that holds the encoded pictures."""
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
    """Give the rows of each row group, or stop if they cannot be held in memory."""
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    for number, group in enumerate(groups):
        # Not the size of the one column: pyarrow aborts the process when the metadata of a column are damaged.
        if group.total_byte_size > MAX_GROUP_BYTES:
            raise UserError(
                f"data.images: {path}: row group {number} has {group.total_byte_size} bytes, more than {MAX_GROUP_BYTES}; "
                "write the file again with smaller row groups (row_group_size=100)"
            )
    if sum(group.num_rows for group in groups) > MAX_ROWS:
        raise UserError(f"data.images: {path} has more than {MAX_ROWS} rows; explain a part of them")
    return [group.num_rows for group in groups]


def _values(file: pq.ParquetFile, column: str) -> Iterator[Any]:
    """Give the values of a column, a batch at a time."""
    for batch in file.iter_batches(batch_size=65_536, columns=[column]):
        yield from batch.column(0).to_pylist()


def _names_things(schema: pa.Schema, column: str) -> bool:
    """Tell whether there is such a column, once, of text or whole numbers."""
    import pyarrow.types as types

    index = schema.get_field_index(column)
    kind = schema.field(index).type if index >= 0 else None
    kind = kind.value_type if kind is not None and types.is_dictionary(kind) else kind
    return kind is not None and (types.is_string(kind) or types.is_large_string(kind) or types.is_integer(kind))


def _keys(file: pq.ParquetFile) -> list[str] | None:
    """Give the first column of keys whose values are all there and differ; none if there is no such column."""
    for name in KEYS:
        if _names_things(file.schema_arrow, name):
            values = list(_values(file, name))
            if not {None, ""} & set(values) and len(set(values)) == len(values):
                return [str(value) for value in values]
    return None


def _labels(file: pq.ParquetFile, rows: int) -> list[str]:
    """Give the label of each row; "" if there is none."""
    if not _names_things(file.schema_arrow, "label"):
        return [""] * rows
    names = _class_names(file.schema_arrow.metadata or {})
    return [_label(value, names) for value in _values(file, "label")]


def _label(value: int | str | None, names: list[str]) -> str:
    """Give the name of a class by its number, or what stands there."""
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return "" if value is None else str(value)


def _class_names(metadata: dict[bytes, bytes]) -> list[str]:
    """Read the names of the classes from what Hugging Face datasets write beside the schema; none if they are not there."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []


class RowGroups:
    """The pictures of parquet files by their number over all files; the row groups read last are kept.

    Parameters
    ----------
    files : list of File
        In the order in which their rows count.
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
            If its row group cannot be read, its row holds no bytes, or they are no picture.
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
        """Give the encoded pictures of a row group, or why they cannot be had."""
        with self._lock:
            if number not in self._kept:
                if len(self._kept) >= KEPT_GROUPS:
                    self._kept.popitem(last=False)
                self._kept[number] = _read_group(*self._groups[number])
            self._kept.move_to_end(number)
            return self._kept[number]


def _read_group(file: File, group: int) -> pa.ChunkedArray | str:
    """Read the encoded pictures of a row group, or say why they cannot be read.

    In small batches, because a dictionary can make more of a few bytes than the metadata say.
    """
    import pyarrow as pa

    batches: list[pa.Array] = []
    held = 0
    try:
        with _opened(file.path) as opened:
            for batch in opened.iter_batches(batch_size=BATCH, row_groups=[group], columns=[file.column]):
                batches.append(batch.column(0))
                held += batches[-1].nbytes
                if held > MAX_GROUP_BYTES:
                    return f"its row group holds more than {MAX_GROUP_BYTES} bytes"
    except Exception as error:  # as in `_read_file`
        return f"its row group cannot be read ({_first_line(error)})"
    return pa.chunked_array(batches) if batches else "its row is missing"
