"""Select the captions of a corpus: cleaned, each different text once, with an embedding if embeddings are given."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int, UInt64

from falcon_dvc.captions.corpus_file import MAX_LETTERS, Batch, CaptionSource, clean_caption, is_missing
from falcon_dvc.captions.duplicates import fingerprints, first_of_each
from falcon_dvc.captions.text_file import FIX
from falcon_dvc.captions.vectors import GivenEmbeddings
from falcon_dvc.errors import UserError
from falcon_dvc.progress import track

COUNTED = ("lines", "empty", "cut", "undecodable", "without_embedding", "misfits", "of_several_lines")
OTHER_FIX = "check data.caption_format and data.caption_column, or " + FIX


@dataclass(frozen=True)
class Selection:
    """The captions that are kept. A caption's number is its position among all rows of all files, from 0.

    Attributes
    ----------
    captions : (kept,) integer array
        Numbers of the kept captions, ascending.
    copies : (kept,) integer array
        How many rows hold each text.
    embeddings : (kept,) integer array or None
        The row of each caption in the given embeddings.
    lines : int
        All captions, with the missing ones: rows, or texts of rows that have several.
    empty, duplicates, without_embedding : int
        Rows that are left out: without a text (empty, None or nan), with the text of an earlier row, without a usable
        embedding.
    cut, undecodable, of_several_lines : int
        Rows with more than `MAX_LETTERS` characters, with bytes that are not UTF-8, and with line ends inside a cell.
    misfits : int
        Rows of `empty` that have another number of cells than their table has columns.
    digest : str
        SHA-256 of the kept numbers and texts.
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
    misfits: int
    of_several_lines: int
    digest: str


def select(source: CaptionSource, given: GivenEmbeddings | None = None) -> Selection:
    """Read the corpus once and select its captions. This takes about 60 bytes of memory a row.

    Raises
    ------
    UserError
        If there is no caption, if most captions are not UTF-8, or if the given embeddings do not match the captions.
    """
    counts, accumulated = Counter[str](), _Rows([], [], [])
    for first, batch in numbered(track(source.batches(), "reading captions")):
        accumulated.add(batch, first, given, counts)
    prints, counted, rows = accumulated.joined()
    if given is not None and rows is not None:
        given.check_fit(rows)
    captions, copies = first_of_each(prints, counted)
    _check(source, counts, captions)
    return Selection(
        captions,
        copies,
        None if rows is None else rows[captions],
        duplicates=int(copies.sum()) - len(captions),
        digest=_digest(captions, prints),
        **{name: counts[name] for name in COUNTED},
    )


@dataclass(frozen=True)
class _Rows:
    """Fingerprints, use and embedding of all rows, batch by batch."""

    prints: list[UInt64[np.ndarray, "rows 2"]]
    counted: list[Bool[np.ndarray, " rows"]]
    rows: list[Int[np.ndarray, " rows"]]

    def add(self, batch: Batch, first: int, given: GivenEmbeddings | None, counts: Counter[str]) -> None:
        """Clean a batch, and append its rows."""
        texts = cleaned(batch)
        # In a vocabulary, "nan" is a word.
        missing = is_missing if batch.words is None else "".__eq__
        captioned = np.array([not missing(text) for text in texts], dtype=bool)
        counts.update(lines=len(texts), undecodable=batch.undecodable, empty=int((~captioned).sum()))
        counts.update(misfits=batch.misfits, of_several_lines=batch.of_several_lines)
        counts.update(cut=sum(len(text) > MAX_LETTERS for text in texts))
        self.prints.append(fingerprints([_short(text) for text in texts]))
        if given is not None:
            self.rows.append(given.rows_of(batch, first))
            usable = given.usable(self.rows[-1])
            counts.update(without_embedding=int((captioned & ~usable).sum()))
            captioned &= usable
        self.counted.append(captioned)

    def joined(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return the batches as one array each; the last is None without embeddings."""
        prints = np.concatenate([fingerprints([]), *self.prints])
        counted = np.concatenate([np.zeros(0, dtype=bool), *self.counted])
        return prints, counted, np.concatenate(self.rows) if self.rows else None


def _check(source: CaptionSource, counts: Counter[str], captions: np.ndarray) -> None:
    """Raise if the corpus has no captions or another encoding."""
    where = source.files[0] if len(source.files) == 1 else f"{source.files[0]} and {len(source.files) - 1} more"
    if counts["lines"] == 0:
        raise UserError(f"data.captions: {where} is empty; {FIX}")
    if 2 * counts["undecodable"] > counts["lines"]:
        raise UserError(
            f"data.captions: {counts['undecodable']} of the {counts['lines']} {source.unit} in {where} are not UTF-8; "
            "save it as UTF-8 (iconv -t utf-8 -f ITS_ENCODING)"
        )
    if 2 * counts["misfits"] > counts["lines"]:
        raise UserError(
            f"data.captions: {counts['misfits']} of the {counts['lines']} rows in {where} have another number of cells than "
            "the table has columns; check data.caption_format and data.caption_column"
        )
    if len(captions) == 0 and counts["without_embedding"]:
        raise UserError(
            f"data.captions: {where} has {counts['without_embedding']} captions and no usable embedding for any of them"
        )
    if len(captions) == 0:
        raise UserError(
            f"data.captions: {where} has {counts['lines']} {source.unit} and no caption among them; {OTHER_FIX}"
        )


def _digest(captions: np.ndarray, prints: np.ndarray) -> str:
    """Return the SHA-256 of the kept numbers and texts."""
    digest = hashlib.sha256(captions.astype("<i8").tobytes())
    digest.update(prints[captions].tobytes())
    return digest.hexdigest()


def cleaned(batch: Batch) -> list[str]:
    """Return the cleaned texts of a batch; "" for a missing one."""
    return ["" if text is None else clean_caption(text) for text in batch.texts]


def _short(text: str) -> str:
    """Return the first `MAX_LETTERS` characters of a caption."""
    return text[:MAX_LETTERS].rstrip()


def numbered(batches: Iterator[Batch]) -> Iterator[tuple[int, Batch]]:
    """Yield each batch with the number of its first caption."""
    first = 0
    for batch in batches:
        yield first, batch
        first += len(batch.texts)


def selected(source: CaptionSource, selection: Selection, with_source: bool) -> Iterator[pa.Table]:
    """Read the corpus again and yield tables of the kept captions, with columns ``caption``, ``text``, ``copies``.

    Parameters
    ----------
    source : CaptionSource
        The corpus.
    selection : Selection
        As from `select`.
    with_source : bool
        Also write ``file`` (number among the source's files) and ``row`` (in that file, from 0). If they exist, also
        write ``id`` (the file's own), ``word`` (of a vocabulary) and ``embedding`` (row of the given embeddings).
    """
    for first, batch in numbered(source.batches()):
        low, high = np.searchsorted(selection.captions, [first, first + len(batch.texts)])
        if low < high:
            yield _table(batch, first, selection, slice(low, high), with_source)


def _table(batch: Batch, first: int, selection: Selection, kept: slice, with_source: bool) -> pa.Table:
    """Return the kept rows of one batch as a table."""
    captions = selection.captions[kept]
    within, texts = captions - first, cleaned(batch)
    columns = {
        "caption": captions,
        "text": pa.array([_short(texts[row]) for row in within], pa.string()),
        "copies": selection.copies[kept],
    }
    if with_source:
        rows = batch.row + within if batch.rows is None else batch.rows[within]
        columns |= {"file": np.full(len(within), batch.file, dtype=np.int32), "row": rows}
        columns |= {} if batch.ids is None else {"id": batch.ids[within]}
        columns |= {} if batch.words is None else {"word": [_short(batch.words[row]) for row in within]}
        columns |= {} if selection.embeddings is None else {"embedding": selection.embeddings[kept]}
    return pa.table(columns)
