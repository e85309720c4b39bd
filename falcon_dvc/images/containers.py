"""Find the files that hold many pictures each, such as parquet files and tar shards."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import UnreadableImageError, printable
from falcon_dvc.images.folders import inside, names_in
from falcon_dvc.images.kinds import unpacking
from falcon_dvc.images.passed_over import PassedOver, grouped, lines, packed


@dataclass(frozen=True)
class Containers:
    """The containers of a source.

    Attributes
    ----------
    files : list of (str, path)
        Name relative to the folder, with ``/``, and path; sorted by the bytes of the names. A file has its own name.
    unopened : mapping of str to list of str
        Names of the files in other formats, by the reason.
    """

    files: list[tuple[str, Path]]
    unopened: PassedOver


def containers(path: str | Path, suffixes: tuple[str, ...], others: Mapping[str, str]) -> Containers:
    """Find the file `path`, or the files with a suffix in a folder and its sub-folders.

    Hidden files and folders are ignored.

    Parameters
    ----------
    path : path
        The param ``data.images``.
    suffixes : tuple of str
        Ends of the file names, for instance ``.tar``; upper and lower case count as equal.
    others : mapping of str to str
        Ends of the names of files in other formats that hold pictures, and why they are not read.

    Raises
    ------
    UserError
        If there is no such file, or a file is a link that leads out of the folder.
    """
    path = Path(path)
    fix = f"point data.images at a {suffixes[0]} file or at a folder of them"
    if path.is_file():
        return Containers([(path.name, path)], {})
    if not path.is_dir():
        raise UserError(f"data.images: there is no {path}; {fix}")
    root = path.resolve()
    files, linked_folders = names_in(root)
    names = linked_folders + [name for name in files if name.lower().endswith(suffixes)]
    unopened = grouped(files, lambda name: _reason(name, suffixes, others))
    if not names:
        found = f" ({'; '.join(lines(unopened))})" if unopened else ""
        raise UserError(f"data.images: no {suffixes[0]} files under {path}{found}; {fix}")
    return Containers([(name, _file(root, name)) for name in names], unopened)


def _reason(name: str, suffixes: tuple[str, ...], others: Mapping[str, str]) -> str | None:
    """Return why a file is passed over; None if it is read or holds no pictures."""
    if name.lower().endswith(suffixes):
        return None
    command = unpacking(name)
    return packed(command) if command else others.get(Path(name).suffix.lower())


def _file(root: Path, name: str) -> Path:
    """Return the path of a file in the folder; name the file in the error."""
    try:
        return inside(root, name)
    except UnreadableImageError as error:
        raise UserError(f"data.images: {printable(name)} in {root}: {error}; put the file itself there") from error
