"""Find the files of a folder, and open them by their names."""

import os
from pathlib import Path

from falcon_dvc.artifacts.links import leads_out, where_to
from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import UnreadableImageError


def existing_folder(folder: Path) -> Path:
    """Return the folder with its links resolved.

    Raises
    ------
    UserError
        If there is no such folder.
    """
    if not folder.exists():
        raise UserError(f"data.images: there is no folder {folder}; point data.images at a folder of pictures")
    if not folder.is_dir():
        raise UserError(f"data.images: {folder} is a file; point data.images at the folder that it is in")
    return folder.resolve()


def names_in(root: Path) -> tuple[list[str], list[str]]:
    """Find the files in a folder and its sub-folders, and the linked folders, which `inside` refuses.

    Hidden files and folders are ignored.

    Returns
    -------
    files, linked_folders : list of str
        Names relative to the folder, with ``/``, sorted by their bytes.

    Raises
    ------
    UserError
        If a sub-folder cannot be read.
    """

    def stop(error: OSError) -> None:
        raise UserError(
            f"data.images: the folder {error.filename} cannot be read ({error.strerror}); allow it or move it away"
        )

    names: list[str] = []
    links: list[str] = []
    for folder, subfolders, files in os.walk(root, onerror=stop):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        place = Path(folder).relative_to(root)
        links += [(place / name).as_posix() for name in subfolders if Path(folder, name).is_symlink()]
        names += [(place / name).as_posix() for name in files if not name.startswith(".")]
    return sorted(names, key=os.fsencode), sorted(links, key=os.fsencode)


def inside(root: Path, name: str) -> Path:
    """Return the path of the regular file `name` in the folder.

    Raises
    ------
    UnreadableImageError
        If it is no regular file, or if links or ``..`` lead out of the folder to anything but the cache of this DVC project.
    """
    path = root / name
    try:
        if path.is_symlink() and path.is_dir():
            raise UnreadableImageError("a linked folder")
        if leads_out(path, root):
            raise UnreadableImageError(f"leads out of the folder{where_to(path)}")
        # Reading a pipe or a device could block without end.
        if not path.is_file():
            raise UnreadableImageError("not a regular file")
    except (OSError, ValueError) as error:  # too long, or contains a NUL
        raise UnreadableImageError("no possible name of a file") from error
    return path
