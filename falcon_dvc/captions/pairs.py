"""Read pairs of an image and a caption from a table: one row a pair, the image by its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from falcon_dvc.captions.corpus_file import clean_caption, decoded, short_lines
from falcon_dvc.captions.delimited import IMAGE, Dialect, rows_of, split
from falcon_dvc.captions.dialects import dialect_of
from falcon_dvc.captions.names import chosen_columns, listed, plain
from falcon_dvc.captions.tables import MAX_ROW_BYTES, first_lines, is_parquet, suffix_of, text_of
from falcon_dvc.captions.text_file import opened
from falcon_dvc.errors import UserError

# Names of columns with the names of images in released tables, in the order in which they are preferred.
NAMES = ("image", "path", "file", "filename", "file_name", "image_name", "image_path", "filepath", "img")
NUMBERED = re.compile(r"#[0-9]+$")  # Flickr8k numbers the captions of an image: 1000268201.jpg#0


def read_pairs(path: str, param: str) -> pd.DataFrame:
    """Read the pairs of a table: CSV, TSV and their relatives, or parquet.

    Parameters
    ----------
    path : str
        A column holds captions, found as in a caption corpus. Another holds the names of images: one of `NAMES`, else
        the first one with file names.
    param : str
        For messages.

    Returns
    -------
    DataFrame
        Columns ``image`` (name) and ``caption``, in the order of the file; rows that lack one of them are left out.

    Raises
    ------
    UserError
        If the file is missing or no table, or lacks such a column, or holds no pair.
    """
    if not Path(path).is_file():
        raise UserError(f"{param}: {path} does not exist; name a table with an image and a caption in each row")
    rows = _of_parquet(path, param) if is_parquet(path) else _of_text(path, param)
    table = pd.DataFrame(rows, columns=["image", "caption"])
    table = table[(table["image"] != "") & (table["caption"] != "")].reset_index(drop=True)
    if table.empty:
        raise UserError(f"{param}: {path} holds no row with an image and a caption; name another table")
    return table


def _of_parquet(path: str, param: str) -> list[tuple[str, str]]:
    names = pq.read_schema(path).names
    (caption,) = chosen_columns(path, names, "")[:1]
    image = _by_name(names)
    if image is None:
        raise UserError(_lacks(path, param, names))
    table = pq.read_table(path, columns=[image, caption])
    return [_pair(row[image], row[caption]) for row in table.to_pylist()]


def _of_text(path: str, param: str) -> list[tuple[str, str]]:
    lines = first_lines(path)
    dialect = dialect_of(path, lines, suffix_of(Path(path)), "")
    image = _place(path, param, lines, dialect)
    both = replace(dialect, columns=(image, dialect.columns[0]))
    with opened(path) as file:
        texts = [row.texts for row in rows_of((text_of(line) for line in short_lines(file, MAX_ROW_BYTES)), both)]
    return [_pair(*row) for row in texts]


def _pair(image: object, caption: object) -> tuple[str, str]:
    """Return the name of an image without the number of its caption, and the caption in one line; "" for what is no text."""
    name = NUMBERED.sub("", image.strip()) if isinstance(image, str) else ""
    if not isinstance(caption, str):
        return name, ""
    (text,), undecodable = decoded([caption.encode("utf-8", "surrogateescape")])
    return name, clean_caption(text) if text and not undecodable else ""


def _place(path: str, param: str, lines: Sequence[str], dialect: Dialect) -> int:
    """Return the place of the column with the names of images."""
    sample = [split(line, dialect.separator)[0] for line in lines if line.strip()]
    if dialect.header:
        named = _by_name([cell.strip(' "') for cell in sample[0]])
        if named is not None:
            return [cell.strip(' "') for cell in sample[0]].index(named)
    body = sample[dialect.header :]
    for place in range(dialect.cells):
        cells = [row[place].strip(' "') for row in body if place < len(row)]
        if place not in dialect.columns and cells and all(_is_name(cell) for cell in cells):
            return place
    raise UserError(_lacks(path, param, sample[0]))


def _is_name(cell: str) -> bool:
    return re.fullmatch(rf"{IMAGE}(?:#[0-9]+)?", cell, re.IGNORECASE) is not None


def _by_name(names: Sequence[str]) -> str | None:
    """Return the column of images by its name; None if there is none."""
    spellings = {plain(name): name for name in reversed(names)}
    return next((spellings[known] for known in NAMES if known in spellings), None)


def _lacks(path: str, param: str, names: Sequence[str]) -> str:
    return f"{param}: {path} has no column with the names of images ({listed(names)}); call one of its columns `image`"
