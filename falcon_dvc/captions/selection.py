"""The captions of a corpus that are kept: cleaned, each different text once, with an embedding if embeddings are given."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int, UInt64

from falcon_dvc.captions.corpus_file import FIX, MAX_LETTERS, Batch, CaptionSource, clean_caption, is_missing
from falcon_dvc.captions.duplicates import fingerprints, first_of_each
from falcon_dvc.captions.vectors import GivenEmbeddings
from falcon_dvc.errors import UserError
from falcon_dvc.progress import track

OTHER_FIX = "check data.caption_format and data.caption_column, or " + FIX


@dataclass(frozen=True)
class Selection:
    """What is kept of a corpus; a caption's number is its place among all rows of all files, from 0.

    Attributes
    ----------
    captions : (kept,) integer array
        Their numbers, ascending.
    copies : (kept,) integer array
        How many rows held the text.
    embeddings : (kept,) integer array or None
        The rows of the given embeddings that belong to them.
    lines, empty, duplicates, cut, undecodable, without_embedding : int
        Rows in all; rows left out because nothing, or only None or nan, stood there, or an earlier one has the same text;
        rows with more than `MAX_LETTERS` characters, with bytes that are not UTF-8, without a usable embedding (left out, too).
    digest : str
        SHA-256 of the numbers and texts kept.
    """

    captions: Int[np.ndarray, " kept"]
    copies: Int[np.ndarray, " kept"]
    embeddings: Int[np.ndarray, " kept"] | None
    lines: int
    empty: int
    duplicates: int
    cut: int
    undecodable: int
    without_embedding: int
    digest: str


def select(source: CaptionSource, given: GivenEmbeddings | None = None) -> Selection:
    """Read the corpus once and say what is kept. Memory: some 60 bytes a row.

    Raises
    ------
    UserError
        If there is no caption, if most of them are not UTF-8, or if the embeddings given do not fit the captions.
    """
    seen, parts = Counter[str](), _Parts([], [], [])
    for first, batch in numbered(track(source.batches(), "reading captions")):
        parts.add(batch, first, given, seen)
    prints, counted, rows = parts.joined()
    if given is not None and rows is not None:
        given.check_fit(rows)
    captions, copies = first_of_each(prints, counted)
    _check(source, seen, captions)
    return Selection(
        captions,
        copies,
        None if rows is None else rows[captions],
        duplicates=int(copies.sum()) - len(captions),
        digest=_digest(captions, prints),
        **{name: seen[name] for name in ("lines", "empty", "cut", "undecodable", "without_embedding")},
    )


@dataclass(frozen=True)
class _Parts:
    """What is remembered of the rows, batch by batch."""

    prints: list[UInt64[np.ndarray, "rows 2"]]
    counted: list[Bool[np.ndarray, " rows"]]
    rows: list[Int[np.ndarray, " rows"]]

    def add(self, batch: Batch, first: int, given: GivenEmbeddings | None, seen: Counter[str]) -> None:
        """Clean a batch."""
        texts = cleaned(batch)
        captioned = np.array([not is_missing(text) for text in texts], dtype=bool)
        seen.update(lines=len(texts), undecodable=batch.undecodable, empty=int((~captioned).sum()))
        seen.update(cut=sum(len(text) > MAX_LETTERS for text in texts))
        self.prints.append(fingerprints([_short(text) for text in texts]))
        if given is not None:
            self.rows.append(given.rows_of(batch, first))
            usable = given.usable(self.rows[-1])
            seen.update(without_embedding=int((captioned & ~usable).sum()))
            captioned &= usable
        self.counted.append(captioned)

    def joined(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """All rows."""
        nothing = fingerprints([]), np.zeros(0, dtype=bool)
        prints, counted = (
            np.concatenate([empty, *some]) for empty, some in zip(nothing, (self.prints, self.counted), strict=True)
        )
        return prints, counted, np.concatenate(self.rows) if self.rows else None


def _check(source: CaptionSource, seen: Counter[str], captions: np.ndarray) -> None:
    """Refuse a corpus without captions, or one in another encoding."""
    where = source.files[0] if len(source.files) == 1 else f"{source.files[0]} and {len(source.files) - 1} more"
    if seen["lines"] == 0:
        raise UserError(f"data.captions: {where} is empty; {FIX}")
    if 2 * seen["undecodable"] > seen["lines"]:
        raise UserError(
            f"data.captions: {seen['undecodable']} of the {seen['lines']} {source.unit} in {where} are not UTF-8; save it as UTF-8"
        )
    if len(captions) == 0 and seen["without_embedding"]:
        raise UserError(
            f"data.captions: {where} has {seen['without_embedding']} captions and no usable embedding for any of them"
        )
    if len(captions) == 0:
        raise UserError(
            f"data.captions: {where} has {seen['lines']} {source.unit} and no caption among them; {OTHER_FIX}"
        )


def _digest(captions: np.ndarray, prints: np.ndarray) -> str:
    """SHA-256 of numbers and texts."""
    digest = hashlib.sha256(captions.astype("<i8").tobytes())
    digest.update(prints[captions].tobytes())
    return digest.hexdigest()


def cleaned(batch: Batch) -> list[str]:
    """The texts in one form; "" where there is none."""
    return ["" if text is None else clean_caption(text) for text in batch.texts]


def _short(text: str) -> str:
    """A caption as it is kept."""
    return text[:MAX_LETTERS].rstrip()


def numbered(batches: Iterator[Batch]) -> Iterator[tuple[int, Batch]]:
    """Each batch with the number of its first caption."""
    first = 0
    for batch in batches:
        yield first, batch
        first += len(batch.texts)


def selected(source: CaptionSource, selection: Selection, with_source: bool) -> Iterator[pa.Table]:
    """Read the corpus again and give what is kept, in parts: ``caption``, ``text``, ``copies``.

    Parameters
    ----------
    with_source : also ``file`` (number among the source's files), ``row`` (in that file, from 0), and where there are such
        ``id`` (the file's own) and ``embedding`` (row of the embeddings given).
    """
    for first, batch in numbered(source.batches()):
        low, high = np.searchsorted(selection.captions, [first, first + len(batch.texts)])
        if low < high:
            yield _table(batch, first, selection, slice(low, high), with_source)


def _table(batch: Batch, first: int, selection: Selection, kept: slice, with_source: bool) -> pa.Table:
    """The kept rows of one batch."""
    captions = selection.captions[kept]
    within, texts = captions - first, cleaned(batch)
    columns = {
        "caption": captions,
        "text": pa.array([_short(texts[row]) for row in within], pa.string()),
        "copies": selection.copies[kept],
    }
    if with_source:
        columns |= {"file": np.full(len(within), batch.file, dtype=np.int32), "row": batch.row + within}
        columns |= {} if batch.ids is None else {"id": batch.ids[within]}
        columns |= {} if selection.embeddings is None else {"embedding": selection.embeddings[kept]}
    return pa.table(columns)
