"""Find the files that hold many pictures each, such as parquet files and tar shards."""

import os
from pathlib import Path

from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import UnreadableImageError, printable
from falcon_dvc.images.listing import inside


def containers(path: str | Path, suffix: str) -> list[tuple[str, Path]]:
    """Return the file `path`, or the files with a suffix in a folder and its sub-folders.

    Hidden files and folders are ignored.

    Parameters
    ----------
    path : path
        The param ``data.images``.
    suffix : str
        End of the file names, for instance ``.tar``; upper and lower case count as equal.

    Returns
    -------
    list of (str, path)
        Name relative to the folder, with ``/``, and path; sorted by the bytes of the names. A file has its own name.

    Raises
    ------
    UserError
        If there is no such file, or a file is a link that leads out of the folder.
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
    """Return the relative names of the files, and of linked folders, which `inside` refuses."""

    def stop(error: OSError) -> None:
        raise UserError(
            f"data.images: the folder {error.filename} cannot be read ({error.strerror}); allow it or move it away"
        )

    names: list[str] = []
    for folder, subfolders, files in os.walk(root, onerror=stop):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        links = [name for name in subfolders if Path(folder, name).is_symlink()]
        matching = [name for name in files if not name.startswith(".") and name.lower().endswith(suffix)]
        names += (Path(folder, name).relative_to(root).as_posix() for name in links + matching)
    return names


def _file(root: Path, name: str) -> Path:
    """Return the path of a file in the folder; name the file in the error."""
    try:
        return inside(root, name)
    except UnreadableImageError as error:
        raise UserError(f"data.images: {printable(name)} in {root}: {error}; put the file itself there") from error
