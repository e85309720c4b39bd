"""The caption corpus: one caption a line, its id the number of the line."""

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np
import pandas as pd

from stages.common.errors import UserError
from stages.common.progress import track

MAX_LETTERS = 1000
# Nothing beyond this is read of a line, so that a file without line ends cannot fill the memory.
MAX_LINE_BYTES = 65_536
# What a table writer puts where a caption is missing.
MISSING = frozenset({"", "none", "nan"})
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
FIX = "point data.captions at a text file with one caption a line"


@dataclass(frozen=True)
class Captions:
    """A cleaned caption corpus.

    Attributes
    ----------
    table : pandas.DataFrame
        Columns caption (number of the line in the file, from 0), text (different in each row) and copies (how many
        lines held it).
    lines : int
        Lines in the file.
    empty : int
        Lines left out because nothing, or only None or nan, stood there.
    duplicates : int
        Lines left out because an earlier one has the same text.
    cut : int
        Lines that had more than `MAX_LETTERS` characters.
    undecodable : int
        Lines with bytes that are not UTF-8 (replaced by U+FFFD).
    """

    table: pd.DataFrame
    lines: int
    empty: int
    duplicates: int
    cut: int
    undecodable: int


def read_captions(path: str | Path) -> Captions:
    r"""Read a caption corpus, line by line.

    Only ``\n`` ends a line: other separators (``\r``, form feed, U+2028) stand inside captions, and splitting there
    would shift the ids of all that follow.

    Raises
    ------
    UserError
        If the file is missing, is not text in UTF-8, or has no caption.
    """
    try:
        with Path(path).open("rb") as file:
            if file.peek(2)[:2] in BYTE_ORDER_MARKS:
                raise UserError(f"data.captions: {path} is UTF-16; save it as UTF-8")
            captions = _collected(file)
    except OSError as error:
        raise UserError(f"data.captions: {path} cannot be read ({error.strerror}); {FIX}") from error
    if captions.lines == 0:
        raise UserError(f"data.captions: {path} is empty; {FIX}")
    if captions.table.empty:
        raise UserError(f"data.captions: {path} has {captions.lines} lines and no caption among them; {FIX}")
    return captions


def _collected(file: BufferedReader) -> Captions:
    """Clean the lines and count how often each text comes; the first line of each gives its id."""
    first_line: dict[str, int] = {}
    seen: Counter[str] = Counter()
    copies: Counter[str] = Counter()
    for number, raw in enumerate(track(_lines(file), "Reading captions")):
        text = clean_caption(raw.decode("utf-8", errors="replace"))
        seen.update(lines=1, cut=len(text) > MAX_LETTERS, undecodable=not _is_utf8(raw), empty=_is_missing(text))
        if not _is_missing(text):
            text = text[:MAX_LETTERS].rstrip()
            first_line.setdefault(text, number)
            copies[text] += 1
    columns = {"caption": list(first_line.values()), "text": list(first_line), "copies": list(copies.values())}
    table = pd.DataFrame(columns).astype({"caption": np.int64, "copies": np.int64})
    duplicates = copies.total() - len(copies)
    return Captions(table, seen["lines"], seen["empty"], duplicates, seen["cut"], seen["undecodable"])


def _is_missing(text: str) -> bool:
    """Tell whether nothing stands there."""
    return text.casefold() in MISSING


def _is_utf8(raw: bytes) -> bool:
    """Tell whether bytes can be decoded without loss."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _lines(file: BufferedReader) -> Iterator[bytes]:
    """Give the lines, each cut at `MAX_LINE_BYTES`; a byte order mark at the start of the file is dropped."""
    if file.peek(3)[:3] == codecs.BOM_UTF8:
        file.read(3)
    while line := file.readline(MAX_LINE_BYTES):
        part = line
        while len(part) == MAX_LINE_BYTES and not part.endswith(b"\n"):
            part = file.readline(MAX_LINE_BYTES)
        yield line


def clean_caption(text: str) -> str:
    """Bring a caption to one form: NFC, control characters and runs of white space as one space, none at the ends."""
    return " ".join(unicodedata.normalize("NFC", CONTROL.sub(" ", text)).split())
