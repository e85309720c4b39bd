"""Files that hold many pictures each: one, or all of a folder."""

import os
from pathlib import Path

from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import UnreadableImageError, printable
from falcon_dvc.images.listing import inside


def containers(path: str | Path, suffix: str) -> list[tuple[str, Path]]:
    """Give the file `path`, or the files of a folder and its sub-folders, by name.

    Hidden files and folders are passed over.

    Parameters
    ----------
    path : path
        The param ``data.images``.
    suffix : str
        What the names of the files of a folder end with, in any case.

    Returns
    -------
    list of (str, path)
        Names relative to the folder, with ``/``, sorted by their bytes; for a file its own name.

    Raises
    ------
    UserError
        If there is no such file, or one is a link that leads elsewhere.
    """
    path = Path(path)
    fix = f"point data.images at a {suffix} file or at a folder of them"
    if path.is_file():
        return [(path.name, path)]
    if not path.is_dir():
        raise UserError(f"data.images: there is no {path}; {fix}")
    root = path.resolve()
    names = sorted(_names(root, suffix), key=os.fsencode)
    if not names:
        raise UserError(f"data.images: no {suffix} files under {path}; {fix}")
    return [(name, _file(root, name)) for name in names]


def _names(root: Path, suffix: str) -> list[str]:
    """Give the relative names of the files, and of linked folders (to be refused by name)."""

    def stop(error: OSError) -> None:
        raise UserError(
            f"data.images: the folder {error.filename} cannot be read ({error.strerror}); allow it or move it away"
        )

    names: list[str] = []
    for folder, subfolders, files in os.walk(root, onerror=stop):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found = [name for name in subfolders if Path(folder, name).is_symlink()]
        found += [name for name in files if not name.startswith(".") and name.lower().endswith(suffix)]
        names += (Path(folder, name).relative_to(root).as_posix() for name in found)
    return names


def _file(root: Path, name: str) -> Path:
    """Give the file of the folder."""
    try:
        return inside(root, name)
    except UnreadableImageError as error:
        raise UserError(f"data.images: {printable(name)} in {root}: {error}; put the file itself there") from error
