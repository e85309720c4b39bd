"""Open files of text as UTF-8: compressed ones are decompressed, and UTF-16 and UTF-32 are recoded, while they are read."""

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from falcon_dvc.errors import UserError, one_line

FIX = "point data.captions at a text file with one caption a line"
START_BYTES = 65_536  # the first bytes, from which the encoding is known
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")
# The mark of UTF-32 begins with that of UTF-16.
MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
DAMAGED = (OSError, EOFError, pa.ArrowException, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError)


@contextmanager
def opened(path: str | Path) -> Iterator[io.BufferedReader]:
    """Open a file of text; its bytes are UTF-8 as far as the file is text.

    A file in gzip, bzip2, xz or zstandard is decompressed, and so is a zip archive of one file. UTF-16 and UTF-32 are
    recognised by their mark, UTF-16 of Latin letters also without one.

    Raises
    ------
    UserError
        If the file is missing, is damaged, or is an archive of several files.
    """
    with naming(path), Path(path).open("rb") as raw:
        file = _decompressed(path, raw)
        encoding = _encoding(file.peek(START_BYTES)[:START_BYTES])
        yield io.BufferedReader(_Recoded(file, encoding)) if encoding else file


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Report errors of reading a file in one line.

    Raises
    ------
    UserError
        Instead of an error of the system or of a decompressor.
    """
    try:
        yield
    except DAMAGED as error:
        reason = getattr(error, "strerror", None) or one_line(error, 120)
        raise UserError(f"data.captions: {path} cannot be read ({reason}); {FIX}") from error


def _decompressed(path: str | Path, raw: io.BufferedReader) -> io.BufferedReader:
    start = raw.peek(8)
    unpack = next((unpack for signature, unpack in _UNPACKERS.items() if start.startswith(signature)), None)
    return raw if unpack is None else io.BufferedReader(cast(Any, unpack(path, raw)))


def _only_member(path: str | Path, raw: IO[bytes]) -> IO[bytes]:
    """Open the only file of a zip archive."""
    archive = zipfile.ZipFile(raw)
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if len(names) != 1:
        raise UserError(f"data.captions: {path} is an archive of {len(names)} files; unpack it and name one of them")
    return archive.open(names[0])


_UNPACKERS: dict[bytes, Callable[[str | Path, IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda path, raw: gzip.GzipFile(fileobj=raw),
    b"BZh": lambda path, raw: bz2.BZ2File(raw),
    b"\xfd7zXZ": lambda path, raw: lzma.LZMAFile(raw),  # noqa: SIM115 (closed with the file)
    b"(\xb5/\xfd": lambda path, raw: pa.CompressedInputStream(raw, "zstd"),
    b"PK\x03\x04": _only_member,
}


def _encoding(start: bytes) -> str:
    """Return the encoding of 16 or 32 bits that the first bytes show; "" for another."""
    marked = next((encoding for mark, encoding in MARKS.items() if start.startswith(mark)), "")
    return marked or _unmarked(start)


def _unmarked(start: bytes) -> str:
    """Recognise Latin letters of 16 bits each: nearly all zeros are in every other place."""
    zeros = start[::2].count(0), start[1::2].count(0)
    if 20 * min(zeros) < max(zeros) and 2 * max(zeros) > len(start) // 2:
        return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
    return ""


class _Recoded(io.RawIOBase):
    """Text of 16 or 32 bits a letter as UTF-8."""

    def __init__(self, file: IO[bytes], encoding: str) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._ready = b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with UTF-8; return 0 at the end of the file."""
        ended = False
        while not self._ready and not ended:
            block = self._file.read(START_BYTES)
            ended = not block
            self._ready = self._decoder.decode(block, final=ended).encode("utf-8", "replace")
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size
