"""Caption corpora: the interface of every format, the cleaning of a caption, and text files with one caption a line."""

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
# The rest of a longer line is skipped, so that a file without line ends cannot fill the memory.
MAX_LINE_BYTES = 65_536
ROWS_AT_ONCE = 8192
BYTES_AT_ONCE = 64 << 20
# Texts that table writers write for a missing caption.
MISSING = frozenset({"", "none", "nan"})
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
SURROGATE = re.compile(r"[\ud800-\udfff]")
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
PACKED = (b"\x1f\x8b", b"PK\x03\x04", b"BZh91AY", b"\xfd7zXZ", b"(\xb5/\xfd")  # gzip, zip, bzip2, xz, zstandard
FIX = "point data.captions at a text file with one caption a line"


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
    """

    file: int
    row: int
    texts: Sequence[str | None]
    undecodable: int = 0
    ids: np.ndarray | None = None


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
    """Raise if the first bytes of a file show that it is not text in UTF-8.

    Raises
    ------
    UserError
        If it is compressed, or UTF-16 with or without a byte order mark.
    """
    start = file.peek(MAX_LINE_BYTES)[:MAX_LINE_BYTES]
    if start.startswith(PACKED):
        raise UserError(f"data.captions: {path} is compressed; decompress it")
    if start.startswith(UTF_16) or _alternate_bytes_are_zero(start):
        raise UserError(f"data.captions: {path} is UTF-16; save it as UTF-8")


def _alternate_bytes_are_zero(start: bytes) -> bool:
    """Return whether bytes look like Latin letters of 16 bits each."""
    zeros = sorted((start[::2].count(0), start[1::2].count(0)))
    return 20 * zeros[0] < zeros[1] and 2 * zeros[1] > len(start) // 2


def _line_batches(number: int, file: BufferedReader) -> Iterator[Batch]:
    row = 0
    for raw in in_batches(short_lines(file), ROWS_AT_ONCE):
        texts, undecodable = decoded(raw)
        yield Batch(number, row, texts, undecodable)
        row += len(raw)


def in_batches(lines: Iterable[bytes], rows: int) -> Iterator[list[bytes]]:
    """Yield lists of `rows` lines, or of fewer if they exceed `BYTES_AT_ONCE`."""
    batch: list[bytes] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += len(line)
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
    """Normalise a caption: NFC, control characters and runs of white space as one space, no space at the ends."""
    return " ".join(unicodedata.normalize("NFC", CONTROL.sub(" ", text)).split())
