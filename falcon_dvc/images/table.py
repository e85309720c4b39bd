"""Find the pictures that a table names, with their labels and splits. The table is CSV, or TSV if it ends in ``.tsv``."""

import csv
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from PIL import Image

from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import UnreadableImageError, decoded, printable
from falcon_dvc.images.folders import existing_folder, inside
from falcon_dvc.images.listing import Collection

SPLITS = ("probe", "test")


def find_in_table(folder: str | Path, table: str) -> Collection:
    """Find the pictures that a table names. Their ids are the paths in the table.

    Parameters
    ----------
    folder : path
        The param ``data.images``. It holds the table, and the paths in the table are relative to it.
    table : str
        The param ``data.list``: the table's path in the folder. Its column image holds paths with ``/``. The columns
        label and split (``probe`` or ``test``) are optional.

    Raises
    ------
    UserError
        If the folder or the table is missing, or the table cannot be read, is empty, names a picture twice or has an
        unknown split.
    """
    root = existing_folder(Path(folder))
    path = _table_inside(root, table)
    rows = list(_rows(path))
    if not rows:
        raise UserError(f"data.list: {path} names no images; give it a row for each")
    ids = [row["image"] for _, row in rows]
    splits = [_split(path, line, row["split"]) for line, row in rows] if "split" in rows[0][1] else None
    labels = [row.get("label", "") for _, row in rows]
    return Collection(str(path), ids, labels, lambda row: _named_picture(root, ids[row]), splits)


def _named_picture(root: Path, name: str) -> Image.Image:
    """Decode a picture of the folder; the name comes from a table and is not trusted."""
    path = PurePosixPath(name)
    if path.is_absolute():
        raise UnreadableImageError("an absolute path")
    if ".." in path.parts:
        raise UnreadableImageError("a path with ..")
    return decoded(inside(root, name))


def _table_inside(root: Path, table: str) -> Path:
    """Return the path of the table, which must be in the folder, because DVC tracks the folder only."""
    try:
        return inside(root, table)
    except UnreadableImageError as error:
        raise UserError(
            f"data.list: {printable(table)} is no table in {root} ({error}); name a file in the folder data.images"
        ) from error


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row of the table by column, with the number of its last line."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = _header(path, next(reader, []))
            for row in filter(None, reader):
                if len(row) != len(header):
                    raise UserError(
                        f"data.list: {path}, line {reader.line_num}: {len(row)} fields under {len(header)} columns; "
                        "quote what holds the separator"
                    )
                yield reader.line_num, dict(zip(header, row, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"data.list: {path} is no readable table ({error}); save it as CSV or TSV in UTF-8") from error


def _header(path: Path, columns: list[str]) -> list[str]:
    """Return the column names if they are valid."""
    if "image" not in columns:
        shown = ", ".join(printable(column) for column in columns) or "none"
        raise UserError(f"data.list: {path} has no column image (it has: {shown}); name the column of the paths so")
    if len(set(columns)) < len(columns):
        raise UserError(f"data.list: {path} has two columns of one name; rename one")
    return columns


def _split(path: Path, line: int, name: str) -> str:
    """Return the split of a row if it is valid."""
    if name not in SPLITS:
        raise UserError(
            f"data.list: {path}, line {line}: the split is {printable(name)!r}; write probe (explained) or test (held out)"
        )
    return name
