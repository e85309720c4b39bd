"""Detect the format of a caption corpus and open it."""

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
from falcon_dvc.embeddings import SUFFIXES as EMBEDDING_SUFFIXES
from falcon_dvc.errors import UserError
from falcon_dvc.placeholders import files_in, refuse_placeholders

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
FILE_FORMATS: dict[str, Callable[[Sequence[str], str], CaptionSource]] = {
    "lines": lambda files, column: LineFiles(files),
    "jsonl": JsonLines,
    "coco": lambda files, column: CocoFiles(files),
    "table": TableFiles,
}


def open_captions(data: Data) -> CaptionSource:
    """Open the corpus that ``data.captions`` names, in the format ``data.caption_format``.

    Raises
    ------
    UserError
        If it is missing, if its format cannot be detected, or if it has another format.
    """
    path = Path(data.captions)
    if not path.exists():
        raise UserError(f"data.captions: {path} cannot be read (No such file or directory); {FIX}")
    refuse_placeholders(files_in(path), "data.captions")
    kind = format_of(path) if data.caption_format == "auto" else data.caption_format
    if kind == "laion":
        return Laion(data.captions, data.caption_column)
    if kind == "templates":
        return Templates(data.captions)
    return FILE_FORMATS[kind](_files(path, kind), data.caption_column)


def is_plain(data: Data) -> bool:
    """Return whether the corpus is one text file with one caption a line. A caption's number is then its line."""
    path, kind = Path(data.captions), data.caption_format
    return path.is_file() and (format_of(path) if kind == "auto" else kind) == "lines"


def format_of(path: Path) -> str:
    """Detect the format by the suffix, by the contents of a folder, or else by the first bytes."""
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
        contents = f"captions of several formats ({', '.join(kinds)})" if kinds else "no captions"
        raise UserError(f"data.captions: {path} holds {contents}; set data.caption_format, or {FIX}")
    return kinds[0]


def _format_of_contents(path: Path) -> str:
    """Detect the format by the first bytes: parquet has a signature, JSON lines begin with an object, the rest is text."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise UserError(f"data.captions: {path} cannot be read ({error.strerror}); {FIX}") from error
    return "table" if start == b"PAR1" else "jsonl" if re.match(rb'\{\s*"', start) else "lines"


def _files(path: Path, kind: str) -> list[str]:
    """Return the file, or the files of one format in a folder, in the order of the numbers in their names."""
    if not path.is_dir():
        return [str(path)]
    names = [file for file in path.iterdir() if SUFFIXES.get(file.suffix.lower()) == kind and file.is_file()]
    if not names:
        raise UserError(f"data.captions: {path} holds no file of the format {kind}; {FIX}")
    refuse_links_out(path, names)
    return [str(file) for file in sorted(names, key=lambda file: _natural(file.name))]


def _natural(name: str) -> list[str | int]:
    """Return a key that sorts part10 after part9."""
    pieces = re.split(r"([0-9]+)", name)
    return [int(piece) if number % 2 else piece for number, piece in enumerate(pieces)]


def open_given(data: Data, source: CaptionSource, dim: Callable[[], int]) -> GivenEmbeddings | None:
    """Open the embeddings that come with the corpus; return None if the captions must be embedded.

    Parameters
    ----------
    data : Data
        The section of params.yaml.
    source : CaptionSource
        The opened corpus.
    dim : callable
        Returns the width of the image-text encoder's space; called only if there are embeddings.

    Raises
    ------
    UserError
        If they are not readable, have another width than `dim()`, or lie outside the folder ``data.captions``.
    """
    if isinstance(source, Laion):
        if data.caption_embeddings:
            raise UserError("data.caption_embeddings: shards of LAION bring their own; leave it empty")
        return GivenEmbeddings(source.embeddings, dim())
    if not data.caption_embeddings:
        return None
    return GivenEmbeddings([str(_inside(Path(data.captions), data.caption_embeddings))], dim(), named=True)


def _inside(folder: Path, name: str) -> Path:
    """Return the file of embeddings. It must be in the folder of the captions, which DVC tracks."""
    path = folder / name
    if not folder.is_dir() or Path(name).name != name or path.suffix not in EMBEDDING_SUFFIXES or not path.is_file():
        raise UserError(
            f"data.caption_embeddings: {name} is no file of embeddings in the folder {folder}; "
            f"put the captions and a {' or '.join(EMBEDDING_SUFFIXES)} file into one folder and point data.captions at it"
        )
    refuse_links_out(folder, [path])
    return path
