"""Caption corpora: what every format gives, how a caption is cleaned, and the plain format, one caption a line."""

import codecs
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Protocol

import numpy as np

from falcon_dvc.errors import UserError

MAX_LETTERS = 1000
# Nothing beyond this is read of a line, so that a file without line ends cannot fill the memory.
MAX_LINE_BYTES = 65_536
ROWS_AT_ONCE = 8192
BYTES_AT_ONCE = 64 << 20
# What a table writer puts where a caption is missing.
MISSING = frozenset({"", "none", "nan"})
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
SURROGATE = re.compile(r"[\ud800-\udfff]")
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
PACKED = (b"\x1f\x8b", b"PK\x03\x04", b"BZh91AY", b"\xfd7zXZ", b"(\xb5/\xfd")  # gzip, zip, bzip2, xz, zstandard
FIX = "point data.captions at a text file with one caption a line"


@dataclass(frozen=True)
class Batch:
    """Captions of one file, row after row, as they stand there.

    Attributes
    ----------
    file : int
        Its number among the source's files.
    row : int
        Number of the first of them in the file, from 0.
    texts : sequence of str or None
        None where the file says that there is none.
    undecodable : int
        How many had bytes that are not UTF-8 (replaced by U+FFFD).
    ids : (texts,) integer array or None
        The file's own names of the captions, if it has any.
    """

    file: int
    row: int
    texts: Sequence[str | None]
    undecodable: int = 0
    ids: np.ndarray | None = None


class CaptionSource(Protocol):
    """A caption corpus that can be read again and again from its beginning.

    Attributes
    ----------
    files : sequence of str
        Where the captions come from.
    unit : str
        What a caption is called there: lines, rows, annotations.
    """

    unit: str

    @property
    def files(self) -> Sequence[str]:
        """Give their names."""
        ...

    def batches(self) -> Iterator[Batch]:
        """Give all captions in the order of files and rows, a bounded number at once."""
        ...


class LineFiles:
    r"""Text files with one caption a line.

    Only ``\n`` ends a line: other separators (``\r``, form feed, U+2028) stand inside captions, and splitting there
    would shift the ids of all that follow.
    """

    unit = "lines"

    def __init__(self, files: Sequence[str]) -> None:
        self.files = files

    def batches(self) -> Iterator[Batch]:
        """Give all lines.

        Raises
        ------
        UserError
            If a file is missing or is not text in UTF-8.
        """
        for number, path in enumerate(self.files):
            try:
                with Path(path).open("rb") as file:
                    refuse_other_than_text(path, file)
                    yield from _line_batches(number, file)
            except OSError as error:
                raise UserError(f"data.captions: {path} cannot be read ({error.strerror}); {FIX}") from error


def refuse_other_than_text(path: str, file: BufferedReader) -> None:
    """Stop where the first bytes of a file say that all of it is something else than UTF-8.

    Raises
    ------
    UserError
        If it is packed, or UTF-16 with or without its mark.
    """
    start = file.peek(MAX_LINE_BYTES)[:MAX_LINE_BYTES]
    if start.startswith(PACKED):
        raise UserError(f"data.captions: {path} is packed; unpack it")
    if start.startswith(UTF_16) or _zeros_at_every_other_place(start):
        raise UserError(f"data.captions: {path} is UTF-16; save it as UTF-8")


def _zeros_at_every_other_place(start: bytes) -> bool:
    """Tell whether bytes are Latin letters of 16 bits each."""
    zeros = sorted((start[::2].count(0), start[1::2].count(0)))
    return 20 * zeros[0] < zeros[1] and 2 * zeros[1] > len(start) // 2


def _line_batches(number: int, file: BufferedReader) -> Iterator[Batch]:
    row = 0
    for raw in in_batches(short_lines(file), ROWS_AT_ONCE):
        texts, undecodable = decoded(raw)
        yield Batch(number, row, texts, undecodable)
        row += len(raw)


def in_batches(lines: Iterable[bytes], rows: int) -> Iterator[list[bytes]]:
    """Lines in lists of `rows` each, or of fewer where they are long."""
    waiting: list[bytes] = []
    size = 0
    for line in lines:
        waiting.append(line)
        size += len(line)
        if len(waiting) >= rows or size >= BYTES_AT_ONCE:
            yield waiting
            waiting, size = [], 0
    if waiting:
        yield waiting


def short_lines(file: BufferedReader, most: int = MAX_LINE_BYTES) -> Iterator[bytes]:
    """Give the lines, each cut at `most` bytes; a byte order mark at the start of the file is dropped."""
    if file.peek(3)[:3] == codecs.BOM_UTF8:
        file.read(3)
    while line := file.readline(most):
        part = line
        while len(part) == most and not part.endswith(b"\n"):
            part = file.readline(most)
        yield line


def decoded(cells: Sequence[bytes | None]) -> tuple[list[str | None], int]:
    """Texts of some bytes, and how many of them are not UTF-8."""
    texts = [None if cell is None else cell.decode("utf-8", errors="replace") for cell in cells]
    doubtful = (cell for cell, text in zip(cells, texts, strict=True) if text and "\ufffd" in text and cell)
    return texts, sum(not _is_utf8(cell) for cell in doubtful)


def _is_utf8(raw: bytes) -> bool:
    """Tell whether bytes can be decoded without loss."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def as_text(value: object) -> str | None:
    """The text of a cell: numbers as they are written, and no half of a surrogate pair, which no file can hold.

    Raises
    ------
    TypeError
        If it is a list or another thing that is no caption.
    """
    if value is None or isinstance(value, str):
        return None if value is None else SURROGATE.sub("\ufffd", value)
    if isinstance(value, (bool, int, float)):
        return str(value)
    raise TypeError(f"a caption must be text, not {type(value).__name__}")


def is_missing(text: str) -> bool:
    """Tell whether nothing stands there."""
    return text.casefold() in MISSING


def clean_caption(text: str) -> str:
    """Bring a caption to one form: NFC, control characters and runs of white space as one space, none at the ends."""
    return " ".join(unicodedata.normalize("NFC", CONTROL.sub(" ", text)).split())
