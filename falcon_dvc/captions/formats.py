"""Which format a caption corpus has, and its reader."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from falcon_dvc.captions.corpus_file import FIX, CaptionSource, LineFiles
from falcon_dvc.captions.folders import refuse_links_out
from falcon_dvc.captions.laion import Laion, is_laion
from falcon_dvc.captions.tables import CocoFiles, JsonLines, TableFiles
from falcon_dvc.captions.templates import Templates
from falcon_dvc.captions.vectors import GivenEmbeddings
from falcon_dvc.embeddings import SUFFIXES as OF_EMBEDDINGS
from falcon_dvc.errors import UserError

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Data

SUFFIXES = {
    ".txt": "lines",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "coco",
    ".csv": "table",
    ".tsv": "table",
    ".parquet": "table",
    ".yaml": "templates",
    ".yml": "templates",
}
OF_FILES: dict[str, Callable[[Sequence[str], str], CaptionSource]] = {
    "lines": lambda files, column: LineFiles(files),
    "jsonl": JsonLines,
    "coco": lambda files, column: CocoFiles(files),
    "table": TableFiles,
}


def open_captions(data: Data) -> CaptionSource:
    """The corpus that ``data.captions`` names, in the format ``data.caption_format``.

    Raises
    ------
    UserError
        If it is missing, if its format cannot be told, or if it is not of the format.
    """
    path = Path(data.captions)
    if not path.exists():
        raise UserError(f"data.captions: {path} cannot be read (No such file or directory); {FIX}")
    kind = format_of(path) if data.caption_format == "auto" else data.caption_format
    if kind == "laion":
        return Laion(data.captions, data.caption_column)
    if kind == "templates":
        return Templates(data.captions)
    return OF_FILES[kind](_files(path, kind), data.caption_column)


def is_plain(data: Data) -> bool:
    """Tell whether the corpus is one text file with one caption a line: a caption's number says where it comes from."""
    path, kind = Path(data.captions), data.caption_format
    return path.is_file() and (format_of(path) if kind == "auto" else kind) == "lines"


def format_of(path: Path) -> str:
    """What `auto` stands for: by the suffix, by what lies in a folder, else by the first bytes."""
    if path.is_dir():
        return _format_of_folder(path)
    return SUFFIXES.get(path.suffix.lower()) or _format_of_contents(path)


def _format_of_folder(path: Path) -> str:
    if is_laion(path):
        return "laion"
    if (path / "templates.txt").exists():
        return "templates"
    kinds = sorted({SUFFIXES[file.suffix.lower()] for file in path.iterdir() if file.suffix.lower() in SUFFIXES})
    if len(kinds) != 1:
        found = f"captions of several formats ({', '.join(kinds)})" if kinds else "no captions"
        raise UserError(f"data.captions: {path} holds {found}; set data.caption_format, or {FIX}")
    return kinds[0]


def _format_of_contents(path: Path) -> str:
    """By the first bytes: parquet has a mark, JSON lines begin with an object; anything else is plain text."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise UserError(f"data.captions: {path} cannot be read ({error.strerror}); {FIX}") from error
    return "table" if start == b"PAR1" else "jsonl" if re.match(rb'\{\s*"', start) else "lines"


def _files(path: Path, kind: str) -> list[str]:
    """The file, or the files of the format in a folder, in the order of the numbers in their names."""
    if not path.is_dir():
        return [str(path)]
    names = [file for file in path.iterdir() if SUFFIXES.get(file.suffix.lower()) == kind and file.is_file()]
    if not names:
        raise UserError(f"data.captions: {path} holds no file of the format {kind}; {FIX}")
    refuse_links_out(path, names)
    return [str(file) for file in sorted(names, key=lambda file: _natural(file.name))]


def _natural(name: str) -> list[str | int]:
    """Sorts part10 after part9."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)]


def open_given(data: Data, source: CaptionSource, dim: Callable[[], int]) -> GivenEmbeddings | None:
    """The embeddings that come with the corpus; None if the captions are to be embedded.

    Raises
    ------
    UserError
        If they are not readable, of another width than `dim()`, or lie outside the folder ``data.captions``.
    """
    if isinstance(source, Laion):
        if data.caption_embeddings:
            raise UserError("data.caption_embeddings: shards of LAION bring their own; leave it empty")
        return GivenEmbeddings(source.embeddings, dim())
    if not data.caption_embeddings:
        return None
    return GivenEmbeddings([str(_inside(Path(data.captions), data.caption_embeddings))], dim(), named=True)


def _inside(folder: Path, name: str) -> Path:
    """The file of embeddings, which DVC follows because it lies in the folder of the captions."""
    path = folder / name
    if not folder.is_dir() or Path(name).name != name or path.suffix not in OF_EMBEDDINGS or not path.is_file():
        raise UserError(
            f"data.caption_embeddings: {name} is no file of embeddings in the folder {folder}; "
            f"put the captions and a {' or '.join(OF_EMBEDDINGS)} file into one folder and point data.captions at it"
        )
    refuse_links_out(folder, [path])
    return path
