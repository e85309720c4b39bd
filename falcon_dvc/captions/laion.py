"""Read LAION's published shards: pairs ``metadata_N.parquet`` and ``text_emb_N.npy`` with corresponding rows."""

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from falcon_dvc.captions.corpus_file import Batch
from falcon_dvc.captions.folders import refuse_links_out
from falcon_dvc.captions.tables import TableFiles
from falcon_dvc.embeddings import open_embeddings
from falcon_dvc.errors import UserError, one_line

PAIR = (("metadata", "metadata", ".parquet"), ("text_emb", "text_emb", ".npy"))  # folder, start and end of the name
LAYOUT = "give metadata_*.parquet and text_emb_*.npy in one folder, or in its sub-folders metadata and text_emb, numbered alike"


class Embedded:
    """A corpus that brings its embeddings.

    Attributes
    ----------
    files : tuple of str
        The files with captions.
    embeddings : tuple of str
        The files of embeddings, whose rows correspond to all captions in their order.
    """

    files: tuple[str, ...]
    embeddings: tuple[str, ...]


class Laion(Embedded):
    """The captions of all shards, in the order of their numbers.

    Attributes
    ----------
    files : tuple of str
        The metadata files.
    embeddings : tuple of str
        The file of text embeddings of each.

    Raises
    ------
    UserError
        If a file of a pair is missing, or the two have different numbers of rows.
    """

    unit = "rows"

    def __init__(self, folder: str, column: str = "") -> None:
        metadata, embeddings = (numbered(Path(folder), *names) for names in PAIR)
        for number in sorted(metadata.keys() ^ embeddings.keys()):
            alone = metadata.get(number) or embeddings.get(number)
            raise UserError(f"data.captions: {alone} has no partner with the number {number}; {LAYOUT}")
        refuse_links_out(Path(folder), [*metadata.values(), *embeddings.values()])
        if not metadata:
            raise UserError(f"data.captions: {folder} holds no shards of LAION; {LAYOUT}")
        self.files = tuple(str(metadata[number]) for number in sorted(metadata))
        self.embeddings = tuple(str(embeddings[number]) for number in sorted(metadata))
        for pair in zip(self.files, self.embeddings, strict=True):
            _check_rows(*pair)
        self._tables = TableFiles(self.files, column)

    def batches(self) -> Iterator[Batch]:
        """Yield all captions."""
        return self._tables.batches()


def is_laion(folder: Path) -> bool:
    """Return whether a folder holds files named like the embeddings of shards, beside metadata or without."""
    return bool(_matching(folder, *PAIR[1]))


def _matching(folder: Path, subfolder: str, start: str, end: str) -> list[Path]:
    """Return the files of one kind, in the folder and in its sub-folder, whose name may begin with that of the corpus."""
    return sorted([*folder.glob(f"{start}_*{end}"), *folder.glob(f"*{subfolder}/{start}_*{end}")])


def numbered(folder: Path, subfolder: str, start: str, end: str) -> dict[int, Path]:
    """Return the files of one kind by their number."""
    files: dict[int, Path] = {}
    for path in _matching(folder, subfolder, start, end):
        number = re.fullmatch(r"[0-9]{1,18}", path.name[len(start) + 1 : -len(end)])
        if number is None:
            raise UserError(f"data.captions: {path} has no number; {LAYOUT}")
        if int(number[0]) in files:
            raise UserError(f"data.captions: {files[int(number[0])]} and {path} have the same number; {LAYOUT}")
        files[int(number[0])] = path
    return files


def _check_rows(metadata: str, embeddings: str) -> None:
    try:
        captions = pq.read_metadata(metadata).num_rows
    except (OSError, pa.ArrowException) as error:
        reason = one_line(error, 160)
        raise UserError(f"data.captions: {metadata} is not a readable table ({reason})") from error
    rows = len(open_embeddings(embeddings))
    if captions != rows:
        raise UserError(
            f"data.captions: {metadata} has {captions} captions, but {embeddings} has {rows} embeddings; "
            "fetch the shard again"
        )
