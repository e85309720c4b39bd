"""Caption corpora: the interface of every format, the cleaning of a caption, and text files with one caption a line."""

import codecs
import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from typing import Protocol, TypeVar

import numpy as np

from falcon_dvc.captions.text_file import opened

MAX_LETTERS = 1000
# The rest of a longer line is skipped, so that a file without line ends cannot fill the memory.
MAX_LINE_BYTES = 65_536
ROWS_AT_ONCE = 8192
BYTES_AT_ONCE = 64 << 20
# Texts that table writers write for a missing caption.
MISSING = frozenset({"", "none", "nan"})
Item = TypeVar("Item")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
SURROGATE = re.compile(r"[\ud800-\udfff]")
ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


@dataclass(frozen=True)
class Batch:
    """Consecutive captions of one file, not cleaned.

    Attributes
    ----------
    file : int
        Number of the file among the source's files, from 0.
    row : int
        Number of the first caption in the file, from 0.
    texts : sequence of str or None
        None for a missing caption.
    undecodable : int
        Number of captions with bytes that are not UTF-8 (replaced by U+FFFD).
    ids : (texts,) integer array or None
        The file's own ids of the captions, if it has any.
    rows : (texts,) integer array or None
        Number of each caption's row in the file, if a row may have several captions; else they follow `row` one by one.
    misfits : int
        Number of rows whose caption is missing because they have another number of cells than the table has columns.
    of_several_lines : int
        Number of rows with line ends inside a cell.
    words : sequence of str or None
        The only concept of each caption, if the corpus says so.
    """

    file: int
    row: int
    texts: Sequence[str | None]
    undecodable: int = 0
    ids: np.ndarray | None = None
    rows: np.ndarray | None = None
    misfits: int = 0
    of_several_lines: int = 0
    words: Sequence[str] | None = None


class CaptionSource(Protocol):
    """A caption corpus that can be read several times.

    Attributes
    ----------
    files : sequence of str
        The files that hold the captions.
    unit : str
        What messages call the captions: lines, rows, annotations.
    """

    unit: str

    @property
    def files(self) -> Sequence[str]:
        """Names of the files."""
        ...

    def batches(self) -> Iterator[Batch]:
        """Yield all captions in the order of files and rows, in batches of bounded size."""
        ...


class FilesOfCaptions:
    """Files of one format.

    Parameters
    ----------
    files : sequence of str
        The files, in the order of the captions.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self.files = files


class CaptionsInMemory:
    """Captions of a list.

    Parameters
    ----------
    texts : sequence of str
    """

    unit = "captions"
    files = ("captions",)

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    def batches(self) -> Iterator[Batch]:
        """Yield all captions."""
        for start in range(0, len(self._texts), ROWS_AT_ONCE):
            yield Batch(0, start, self._texts[start : start + ROWS_AT_ONCE])


class LineFiles(FilesOfCaptions):
    r"""Text files with one caption a line.

    Only ``\n`` ends a line. Other separators (``\r``, form feed, U+2028) occur inside captions, and splitting there
    would shift the ids of all later captions.
    """

    unit = "lines"

    def batches(self) -> Iterator[Batch]:
        """Yield all lines.

        Raises
        ------
        UserError
            If a file is missing or damaged.
        """
        for number, path in enumerate(self.files):
            with opened(path) as file:
                yield from _line_batches(number, file)


def _line_batches(number: int, file: BufferedReader) -> Iterator[Batch]:
    row = 0
    for raw in in_batches(short_lines(file), ROWS_AT_ONCE, len):
        texts, undecodable = decoded(raw)
        yield Batch(number, row, texts, undecodable)
        row += len(raw)


def in_batches(lines: Iterable[Item], rows: int, size_of: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Yield lists of `rows` lines, or of fewer if they exceed `BYTES_AT_ONCE`."""
    batch: list[Item] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += size_of(line)
        if len(batch) >= rows or size >= BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def short_lines(file: BufferedReader, most: int = MAX_LINE_BYTES) -> Iterator[bytes]:
    """Yield the lines, each cut at `most` bytes; skip a byte order mark at the start of the file."""
    if file.peek(3)[:3] == codecs.BOM_UTF8:
        file.read(3)
    while line := file.readline(most):
        piece = line
        while len(piece) == most and not piece.endswith(b"\n"):
            piece = file.readline(most)
        yield line


def decoded(cells: Sequence[bytes | None]) -> tuple[list[str | None], int]:
    """Decode cells to texts; return the texts, and how many cells are not UTF-8."""
    texts = [None if cell is None else cell.decode("utf-8", errors="replace") for cell in cells]
    doubtful = (cell for cell, text in zip(cells, texts, strict=True) if text and "\ufffd" in text and cell)
    return texts, sum(not _is_utf8(cell) for cell in doubtful)


def _is_utf8(raw: bytes) -> bool:
    """Return whether bytes can be decoded without loss."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def as_text(value: object) -> str | None:
    """Return a cell as text. Single surrogates are replaced, because UTF-8 cannot encode them.

    Raises
    ------
    TypeError
        If the value is neither text nor a number, for instance a list.
    """
    if value is None or isinstance(value, str):
        return None if value is None else SURROGATE.sub("\ufffd", value)
    if isinstance(value, (bool, int, float)):
        return str(value)
    raise TypeError(f"a caption must be text, not {type(value).__name__}")


def is_missing(text: str) -> bool:
    """Return whether a text stands for a missing caption."""
    return text.casefold() in MISSING


def clean_caption(text: str) -> str:
    """Normalise a caption: NFC, no entities of HTML, control characters and white space as one space, no space at the ends."""
    text = unicodedata.normalize("NFC", CONTROL.sub(" ", text))
    return " ".join((without_entities(text) if "&" in text else text).split())


def without_entities(text: str) -> str:
    """Replace entities of HTML, such as ``&amp;``, by their letters, also those that were replaced twice."""
    before = ""
    while text != before:  # it ends, because an entity is longer than its letters
        before = text
        replaced = ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
        text = unicodedata.normalize("NFC", CONTROL.sub(" ", replaced))
    return text
