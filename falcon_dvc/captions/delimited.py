"""Split tables of text into rows: quotation marks are quotes or letters, and a row may take several lines."""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

MOST_LINES = 200  # of a quoted cell; a quotation mark that is not closed within them is a letter
IMAGE = r"[^\t|;]*?\.(?:jpe?g|jfif|png|gif|webp|bmp|tiff?)"
# A cell that is no caption: a number, a URL or the name of an image.
MACHINE = re.compile(rf"\s*+(?:-?[0-9][0-9.,:e+-]*|https?://\S+|{IMAGE}(?:#[0-9]+)?)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """How a file of text is a table.

    Attributes
    ----------
    separator : str
        One character; a space separates only the first cell from the rest.
    header : bool
        Whether the first line names the columns.
    cells : int
        Number of columns.
    columns : tuple of int
        Those that hold captions.
    """

    separator: str
    header: bool
    cells: int
    columns: tuple[int, ...]


class Row(NamedTuple):
    """Cells of a row.

    Attributes
    ----------
    texts : list of str or None
        Of the columns with captions; None for a cell that the row does not have.
    fits : bool
        Whether the row has as many cells as the table has columns.
    lines : int
        Lines of the file that the row takes.
    """

    texts: Sequence[str | None]
    fits: bool
    lines: int


def rows_of(lines: Iterator[str], dialect: Dialect) -> Iterator[Row]:
    """Yield the rows of a table, without its header.

    A cell in quotation marks may hold separators and line ends. A mark that is not closed before a separator or line end,
    or whose closing would make one row of several complete ones, is a letter of the caption.
    """
    ahead = _Ahead(lines)
    if dialect.header:
        _skip_header(ahead, dialect)
    while (line := ahead.take()) is not None:
        cells, used = _cells(ahead, line, dialect)
        if len(cells) > 1 or dialect.cells == 1 or cells[0].strip():  # else an empty line, which is no row
            yield _row(cells, used, dialect)


def _skip_header(ahead: "_Ahead", dialect: Dialect) -> None:
    """Take the first line that is not empty."""
    while (line := ahead.take()) is not None and not any(cell.strip() for cell in _cells(ahead, line, dialect)[0]):
        pass


def _row(cells: list[str], lines: int, dialect: Dialect) -> Row:
    """Choose the captions of a row. Separators in a last caption without quotation marks are part of it."""
    if len(cells) == dialect.cells:
        return Row([cells[column] for column in dialect.columns], True, lines)
    last = dialect.cells - 1
    extra = any(cell.strip() for cell in cells[dialect.cells :])
    if extra and last in dialect.columns:
        cells = [*cells[:last], dialect.separator.join(cells[last:])]
        extra = False
    texts = [None if extra or column >= len(cells) else cells[column] for column in dialect.columns]
    return Row(texts, None not in texts, lines)


class _Ahead:
    """Lines that can be looked at before they are taken."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines, self._seen = lines, deque[str]()

    def __getitem__(self, place: int) -> str | None:
        """Return the line after `place` others; None behind the last one."""
        while len(self._seen) <= place:
            line = next(self._lines, None)
            if line is None:
                return None
            self._seen.append(line)
        return self._seen[place]

    def take(self) -> str | None:
        """Take the next line; return None at the end."""
        return self._seen.popleft() if self._seen else next(self._lines, None)


def _cells(ahead: _Ahead, line: str, dialect: Dialect) -> tuple[list[str], int]:
    """Split a line, and take the lines that its last cell goes on in; return the cells and the number of lines."""
    if dialect.separator == " ":
        return line.strip().split(None, 1) or [""], 1
    if '"' not in line:
        return line.split(dialect.separator), 1
    cells, following = _quoted(ahead, line, dialect)
    for _ in range(following):
        ahead.take()
    return cells, following + 1


def _quoted(ahead: _Ahead, line: str, dialect: Dialect) -> tuple[list[str], int]:
    """Split a line with quotation marks; return the cells, and the number of following lines that belong to the last one."""
    alone, closed = split(line, dialect.separator)
    cells, lines = alone, [line]
    while not closed:
        rest = _rest_of_cell(ahead, len(lines) - 1, dialect.separator)
        if rest is None:
            return alone, 0
        lines += rest
        cells, closed = split("\n".join(lines), dialect.separator)
    whole = len(lines) == 1 or (len(cells) == dialect.cells and not _are_rows(lines, dialect))
    return (cells, len(lines) - 1) if whole else (alone, 0)


def _rest_of_cell(ahead: _Ahead, start: int, separator: str) -> list[str] | None:
    """Return the lines up to the one that closes a quoted cell; None if none does, or its mark is within a text."""
    found: list[str] = []
    inside, _ = _patterns(separator)
    while start + len(found) < MOST_LINES and (line := ahead[start + len(found)]) is not None:
        found.append(line)
        rest = line[inside.match(line).end() :]  # type: ignore[union-attr]  # it matches nothing, too
        if rest:
            return found if re.match(rf'"[ ]*(?:{re.escape(separator)}|$)', rest) else None
    return None


def _are_rows(lines: Sequence[str], dialect: Dialect) -> bool:
    """Return whether lines are complete rows by themselves, so that a mark in them is not the beginning of a long cell.

    A tab is no part of a caption, so its number shows a row. Commas are, so the other cells must be numbers, URLs or names.
    """
    if dialect.cells == 1:
        return False
    split_lines = [split(line, dialect.separator)[0] for line in lines]
    if any(len(cells) != dialect.cells for cells in split_lines):
        return False
    others = [cell for cells in split_lines for at, cell in enumerate(cells) if at not in dialect.columns]
    return dialect.separator == "\t" or (bool(others) and all(MACHINE.fullmatch(cell) for cell in others))


def split(line: str, separator: str) -> tuple[list[str], bool]:
    """Split a line; return its cells, and whether no quoted cell is left open."""
    if '"' not in line:
        return line.split(separator), True
    inside, cell = _patterns(separator)
    cells: list[str] = []
    place, closed = 0, True
    while True:
        found = cell.match(line, place)
        assert found is not None, "a cell may be empty"
        quoted = found["quoted"]
        if quoted is None and closed:
            closed = not _is_open(line, place, inside)
        cells.append(found[0] if quoted is None else quoted.replace('""', '"'))
        place = found.end() + 1
        if found.end() == len(line):
            return cells, closed


def _is_open(line: str, place: int, inside: re.Pattern[str]) -> bool:
    """Return whether a cell begins with a quotation mark that the line does not close."""
    while line.startswith(" ", place):
        place += 1
    if not line.startswith('"', place):
        return False
    found = inside.match(line, place + 1)
    return found is not None and found.end() == len(line)


@lru_cache
def _patterns(separator: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return the patterns of the inside of a quoted cell, and of a cell. They never go back, so they take linear time."""
    inside, mark = r'(?>[^"]+|"")*+', re.escape(separator)
    quoted = rf'[ ]*+"(?P<quoted>{inside})"[ ]*+(?={mark}|\Z)'
    return re.compile(inside), re.compile(rf"(?:{quoted}|[^{mark}]*)", re.DOTALL)
