"""Detect the format of a caption corpus and open it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from falcon_dvc.captions.corpus_file import CaptionSource, LineFiles
from falcon_dvc.captions.folders import refuse_links_out
from falcon_dvc.captions.json_files import JsonFiles
from falcon_dvc.captions.laion import Embedded, Laion, is_laion
from falcon_dvc.captions.released import ReleasedCorpus, is_released
from falcon_dvc.captions.shards import ShardFiles, is_shard
from falcon_dvc.captions.tables import PARQUET, TableFiles, dialect_in_text, suffix_of
from falcon_dvc.captions.templates import Templates
from falcon_dvc.captions.text_file import FIX, opened
from falcon_dvc.captions.vectors import GivenEmbeddings
from falcon_dvc.captions.vocabulary import Vocabulary
from falcon_dvc.embeddings import SUFFIXES as EMBEDDING_SUFFIXES
from falcon_dvc.errors import UserError
from falcon_dvc.placeholders import files_in, refuse_placeholders

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Data

SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "coco",
    ".csv": "table",
    ".tsv": "table",
    ".tab": "table",
    ".parquet": "table",
    ".yaml": "templates",
    ".yml": "templates",
    ".tar": "shards",
}
BY_CONTENTS = (".txt", ".token")
FILE_FORMATS: dict[str, Callable[[Sequence[str], str], CaptionSource]] = {
    "lines": lambda files, column: LineFiles(files),
    "jsonl": JsonFiles,
    "coco": JsonFiles,
    "table": TableFiles,
    "shards": ShardFiles,
}
FOLDER_FORMATS: dict[str, Callable[[str, str], CaptionSource]] = {
    "laion": Laion,
    "falcon": lambda folder, column: ReleasedCorpus(folder),
    "templates": lambda folder, column: Templates(folder),
}
NO_CAPTIONS = re.compile(
    r"(?:readme|licen[cs]e|citation).*|.*_stats\.json", re.IGNORECASE
)  # beside captions, by their names
JSON = re.compile(rb'\s*(?:\{\s*["}]|\[\s*[\[{"])')


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
    kind = _kind(data)
    if kind in FOLDER_FORMATS:
        return FOLDER_FORMATS[kind](data.captions, data.caption_column)
    files = _files(path, kind, data)
    if kind == "vocabulary":
        return Vocabulary(files, data.caption_templates)
    return FILE_FORMATS[kind](files, data.caption_column)


def _kind(data: Data) -> str:
    given = data.caption_format
    return format_of(Path(data.captions), data.caption_column) if given == "auto" else given


def is_plain(data: Data) -> bool:
    """Return whether the corpus is one text file with one caption a line. A caption's number is then its line."""
    return Path(data.captions).is_file() and _kind(data) == "lines"


def format_of(path: Path, column: str = "") -> str:
    """Detect the format by the suffix, by the contents of a folder, or else by the contents of the file."""
    if path.is_dir():
        return _format_of_folder(path, column)
    return SUFFIXES.get(suffix_of(path)) or _format_of_contents(path, column)


def _format_of_folder(path: Path, column: str) -> str:
    if is_released(path):
        return "falcon"
    if is_laion(path):
        return "laion"
    if (path / "templates.txt").exists():
        return "templates"
    kinds = sorted({format_of(file, column) for file in _caption_files(path)})
    if kinds == ["shards", "table"]:  # img2dataset writes a table beside each shard
        return "table"
    if len(kinds) != 1:
        contents = f"captions of several formats ({', '.join(kinds)})" if kinds else "no captions"
        raise UserError(f"data.captions: {path} holds {contents}; set data.caption_format, or {FIX}")
    return kinds[0]


def _caption_files(path: Path) -> list[Path]:
    """Return the files of a folder whose suffix is one of captions, without those that describe the folder.

    Metadata of shards of LAION without embeddings lie in a sub-folder.
    """
    files = [
        file
        for file in [*path.iterdir(), *path.glob("*metadata/metadata_*.parquet")]
        if (suffix_of(file) in SUFFIXES or suffix_of(file) in BY_CONTENTS)
        and file.is_file()
        and not NO_CAPTIONS.fullmatch(file.name)
    ]
    refuse_links_out(path, files)
    return files


def _format_of_contents(path: Path, column: str) -> str:
    """Detect the format by the contents: a signature, JSON, a table, or else one caption a line."""
    with opened(path) as file:
        start = file.peek()
    if start.startswith(PARQUET):
        return "table"
    if is_shard(start):
        return "shards"
    if JSON.match(start):
        return "jsonl"
    return "lines" if dialect_in_text(path, column) is None else "table"


def _files(path: Path, kind: str, data: Data) -> list[str]:
    """Return the file, or the files of one format in a folder, in the order of the numbers in their names."""
    if not path.is_dir():
        return [str(path)]
    files = _caption_files(path)
    shards_and_tables = {suffix_of(file) for file in files} > {".tar"}
    if data.caption_format != "auto" or shards_and_tables:  # else all files have the format
        of_suffix = [file for file in files if SUFFIXES.get(suffix_of(file), "lines") == kind]
        files = of_suffix or [file for file in files if suffix_of(file) in BY_CONTENTS]
    if not files:
        raise UserError(f"data.captions: {path} holds no file of the format {kind}; {FIX}")
    return [str(file) for file in sorted(files, key=lambda file: _natural(file.name))]


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
    if isinstance(source, Embedded):
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
