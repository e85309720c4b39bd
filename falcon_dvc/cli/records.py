"""Read rows of tables without pandas, whose import takes longer than a look-up."""

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from falcon_dvc.errors import UserError, one_line

FLOATS = ("float", "double")  # types of pyarrow
NUMBERS = {"True": True, "False": False}


def read_records(path: Path, columns: Sequence[str] = (), group: str | None = None) -> list[SimpleNamespace]:
    """Read the rows of a table, with the columns as attributes. A missing number is NaN.

    Parameters
    ----------
    path : parquet, or CSV if the name ends in ``.csv``.
    columns : columns to read; all if not given.
    group : the value of the column ``group`` of the rows to read; all rows if not given.

    Raises
    ------
    UserError
        If the file is missing, is not a table, or lacks a column.
    """
    try:
        read = _csv_rows if path.suffix == ".csv" else _parquet_rows
        return [SimpleNamespace(**row) for row in read(path, list(columns), group)]
    except Exception as error:  # pyarrow raises anything on a damaged file, and KeyError without a column
        reason = f"no column {error}" if isinstance(error, KeyError) else one_line(error)
        raise UserError(f"{path}: not a readable table ({reason}); run `dvc repro` to make it again") from error


def _parquet_rows(path: Path, columns: list[str], group: str | None) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    # ParquetFile, because read_table imports the datasets of pyarrow.
    with pq.ParquetFile(path) as file:
        table = file.read(columns=columns or None)
    table = table.select(columns) if columns else table
    rows = table.to_pylist() if group is None else _of_group(table, group)
    numbers = [field.name for field in table.schema if str(field.type) in FLOATS]
    return [row | {name: math.nan for name in numbers if row[name] is None} for row in rows]


def _of_group(table: Any, group: str) -> list[dict[str, Any]]:
    """Select the rows of a group. The filters of pyarrow would import pandas."""
    places = [place for place, name in enumerate(table["group"].to_pylist()) if name == group]
    if not places:
        return []
    # The rows of a group follow each other in the tables of the stages.
    rows = table.slice(places[0], places[-1] - places[0] + 1).to_pylist()
    return [row for row in rows if row["group"] == group]


def _csv_rows(path: Path, columns: list[str], group: str | None) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if group is None or row["group"] == group:
                yield {name: NUMBERS.get(row[name], row[name]) for name in columns or row}
