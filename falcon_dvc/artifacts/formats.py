"""Readers and writers of every file that passes between stages: atomic, byte-stable, never unpickling."""

import errno
import json
import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import pandas as pd

from falcon_dvc.errors import UserError, one_line

FULL = (errno.ENOSPC, errno.EDQUOT)
INTACT = "results that were finished before are intact; then run the same command again"
MADE_AGAIN = "run `dvc repro` to make it again"
# A spreadsheet reads a cell that starts with one of these as a formula; some also accept the full-width forms.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
DIGITS, SMALL = 4, 0.001  # of numbers in reports, see `meaningful`
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# A number, with or without its interval: it can start like a formula but is none.
FIGURE = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?( \[[+-]?[\d.]+, [+-]?[\d.]+\])?", re.ASCII)


@contextmanager
def finished(path: str | Path) -> Iterator[Path]:
    """Write a file atomically: yield a temporary path, which replaces `path` when the block ends without an error.

    Other processes never read an incomplete file. The temporary name is fixed, so that the file of a killed process is
    overwritten.

    Raises
    ------
    UserError
        If the folder cannot be written to, or the disk is full.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    _create(partial, path)
    try:
        with reporting_full_disk(path):
            yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _create(partial: Path, path: Path) -> None:
    """Create an empty file.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    except OSError as error:
        fix = "free some space" if error.errno in FULL else "allow writing there"
        raise UserError(f"{path}: cannot be written ({error.strerror}); {fix}; {INTACT}") from error


@contextmanager
def reporting_full_disk(path: str | Path) -> Iterator[None]:
    """Raise a `UserError` in place of a system error if the disk of `path` is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise UserError(f"{path}: the disk is full; free some space; {INTACT}") from error


def allocated(path: Path, shape: tuple[int, ...], dtype: Any) -> np.memmap:
    """Create a ``.npy`` file to fill in, and allocate its space.

    Without allocation, a write to a memory-mapped file on a full disk would kill the process without a message.

    Raises
    ------
    OSError
        If the disk is full.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, array.offset + array.nbytes)
    return array


def _atomically(path: str | Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write to a temporary file in the same folder, then rename it."""
    with finished(path) as partial, partial.open("wb") as file:
        write(file)


def write_array(path: str | Path, array: np.ndarray) -> None:
    """Save one array as ``.npy``, C-ordered."""
    array = np.ascontiguousarray(array)
    with finished(path) as partial:
        # numpy's own writer does not report a full disk.
        allocated(partial, array.shape, array.dtype)[...] = array


def read_array(path: str | Path, mmap: bool = True) -> np.ndarray:
    """Open a ``.npy`` file, memory-mapped by default.

    Raises
    ------
    UserError
        If the file is missing or is not a plain array.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r") if mmap else _in_memory(path)
    except Exception as error:  # numpy raises anything on a damaged header: ValueError, OverflowError, TypeError, ...
        raise UserError(f"{path}: not a readable .npy array ({error}); {MADE_AGAIN}") from error


def _in_memory(path: str | Path) -> np.ndarray:
    # np.load would also open archives (.npz), which are no arrays.
    with open(path, "rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def read_rows(path: str | Path, count: int, table: str | Path) -> np.ndarray:
    """Open a ``.npy`` file whose rows correspond to the rows of a table.

    Parameters
    ----------
    path : path
        A ``.npy`` file of two dimensions.
    count : int
        Rows of the table.
    table : path
        The table, for the error message.

    Raises
    ------
    UserError
        If the file is missing, is not such an array, or has another number of rows.
    """
    array = read_array(path)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise UserError(f"{path}: {array.dtype} of shape {array.shape}, not rows of numbers; {MADE_AGAIN}")
    if len(array) != count:
        raise UserError(f"{path}: {len(array)} rows, but {count} in {table}; {MADE_AGAIN}")
    return array


class StoredTable(pd.DataFrame):
    """A table that was read from a file.

    A missing column raises a `UserError` that names the file. Results of operations are plain DataFrames.
    """

    _metadata: ClassVar[list[str]] = ["source"]
    source: str

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return pd.DataFrame

    def __getitem__(self, key: Any) -> Any:
        """Return a column, several columns, or rows."""
        try:
            return super().__getitem__(key)
        except KeyError as error:
            reason = str(error.args[0]) if isinstance(key, list) else f"no column {key!r}"
            raise UserError(f"{self.source}: {reason}; {MADE_AGAIN}") from error


def meaningful(number: float) -> float:
    """Round a number of a report to the digits that a reader can use and another processor does not change.

    Four decimals below 1, where most numbers are shares, scores and correlations; four digits from 1 on, and all digits
    before the point; two digits below 0.001, where four decimals would leave nothing of a p-value.
    """
    size = abs(number)
    if not math.isfinite(number) or size < SMALL:
        return float(f"{number:.2g}")
    return round(number, max(DIGITS - len(str(int(size))), 0) if size >= 1 else DIGITS)


def _meaningful_text(number: float) -> str:
    return f"{meaningful(float(number)):.15g}"


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Save a table as parquet, or as CSV if the name ends in ``.csv``, without index and pandas metadata.

    Cells of a CSV file are escaped, so that a spreadsheet does not read them as formulas; see `safe_cell`. Its floats are
    rounded; see `meaningful`. Parquet keeps every digit.
    """
    if Path(path).suffix == ".csv":
        text = _with_safe_cells(table).to_csv(index=False, lineterminator="\n", float_format=_meaningful_text)
        return write_text(path, text)
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    _atomically(path, lambda file: pq.write_table(arrow, file, compression="zstd"))


def _with_safe_cells(table: pd.DataFrame) -> pd.DataFrame:
    texts = table.select_dtypes(exclude=["number", "bool"]).columns
    safe = table.assign(**{name: table[name].map(_safe_if_text) for name in texts})
    return safe.rename(columns=_safe_if_text)


def _safe_if_text(cell: Any) -> Any:
    return safe_cell(cell) if isinstance(cell, str) else cell


def safe_cell(text: str) -> str:
    """Return a text as one line that a spreadsheet does not read as a formula. A safe text is not changed."""
    text = CONTROL.sub(" ", text)
    return f"'{text}" if text.lstrip().startswith(FORMULA) and not FIGURE.fullmatch(text) else text


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table that `write_table` wrote.

    Raises
    ------
    UserError
        If the file is missing or is not a table.
    """
    try:
        read = pd.read_csv(path, keep_default_na=False) if Path(path).suffix == ".csv" else _read_parquet(path)
    except Exception as error:  # pyarrow raises anything on a damaged file: OSError, ArrowInvalid, ...
        reason = one_line(error)
        raise UserError(f"{path}: not a readable table ({reason}); {MADE_AGAIN}") from error
    table = StoredTable(read)
    table.source = str(path)
    return table


def _read_parquet(path: str | Path) -> pd.DataFrame:
    """Read as `pandas.read_parquet` does, without the search for a data set of several files: stages read many small tables."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return file.read().to_pandas()


def write_json(path: str | Path, value: Any, indent: int | None = 2, exact: bool = False) -> None:
    """Save strict JSON (no NaN), keys in the order given, floats rounded unless they are `exact`; see `meaningful`.

    Without `indent` it is one line, which is written ten times as fast.
    """
    written = rounded(value, float if exact else meaningful)
    write_text(path, json.dumps(written, indent=indent, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable JSON ({error}); {MADE_AGAIN}") from error


def rounded(value: Any, rounding: Callable[[float], float] = meaningful) -> Any:
    """Round every float in nested dicts and lists."""
    if isinstance(value, dict):
        return {key: rounded(item, rounding) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item, rounding) for item in value]
    if isinstance(value, (float, np.floating)):
        return rounding(float(value))
    return value.item() if isinstance(value, np.generic) else value


def write_text(path: str | Path, text: str) -> None:
    """Save text as UTF-8 with the line ends it has."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | Path, content: bytes) -> None:
    """Save bytes."""
    _atomically(path, lambda file: file.write(content))
