"""Pictures of a folder that a table names, with their labels and splits: CSV, or TSV by the suffix ``.tsv``."""

import csv
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from PIL import Image

from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import UnreadableImageError, decoded, printable
from falcon_dvc.images.listing import Collection, existing_folder, inside

SPLITS = ("probe", "test")


def find_listed(folder: str | Path, table: str) -> Collection:
    """Find the pictures that a table names; their ids are the paths as they stand there.

    Parameters
    ----------
    folder : path
        The param ``data.images``: what the paths are relative to, and where the table is.
    table : str
        The param ``data.list``: the table's path in the folder. Its column image holds paths with ``/``; columns label
        and split (``probe`` or ``test``) may be there.

    Raises
    ------
    UserError
        If the folder or the table is missing, or the table cannot be read, names nothing, names a picture twice or has a
        split of another name.
    """
    root = existing_folder(Path(folder))
    path = _table_inside(root, table)
    rows = list(_rows(path))
    if not rows:
        raise UserError(f"data.list: {path} names no images; give it a row for each")
    ids = [row["image"] for _, row in rows]
    splits = [_split(path, line, row["split"]) for line, row in rows] if "split" in rows[0][1] else None
    labels = [row.get("label", "") for _, row in rows]
    return Collection(str(path), ids, labels, lambda row: _listed(root, ids[row]), splits)


def _listed(root: Path, name: str) -> Image.Image:
    """Decode a picture of the folder; the name comes from a table, so it may be anything."""
    path = PurePosixPath(name)
    if path.is_absolute():
        raise UnreadableImageError("an absolute path")
    if ".." in path.parts:
        raise UnreadableImageError("a path with ..")
    return decoded(inside(root, name))


def _table_inside(root: Path, table: str) -> Path:
    """Give the path of the table, which must be in the folder: DVC watches nothing else."""
    try:
        return inside(root, table)
    except UnreadableImageError as error:
        raise UserError(
            f"data.list: {printable(table)} is no table in {root} ({error}); name a file in the folder data.images"
        ) from error


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Give the rows of the table by column, each with the number of the line on which it ends."""
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
    """Check the first line."""
    if "image" not in columns:
        shown = ", ".join(printable(column) for column in columns) or "none"
        raise UserError(f"data.list: {path} has no column image (it has: {shown}); name the column of the paths so")
    if len(set(columns)) < len(columns):
        raise UserError(f"data.list: {path} has two columns of one name; rename one")
    return columns


def _split(path: Path, line: int, name: str) -> str:
    """Check the split of a row."""
    if name not in SPLITS:
        raise UserError(
            f"data.list: {path}, line {line}: the split is {printable(name)!r}; write probe (explained) or test (held out)"
        )
    return name
