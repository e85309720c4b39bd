"""Recognise files that are missing, or that lie in the place of others: pointers of Git LFS, web pages saved as data."""

import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from falcon_dvc.errors import UserError

START = 512  # bytes that tell what a file is
MOST_FILES = 10_000  # of a folder that are looked at
POINTERS = {
    b"version https://git-lfs.github.com/spec/": (
        "a pointer of Git LFS",
        "install Git LFS and run `git lfs pull` in the folder that was cloned",
    ),
    b"version https://hawser.github.com/spec/": ("a pointer of Git LFS", "run `git lfs pull` in that folder"),
    b"/annex/objects/": ("a pointer of git-annex", "run `git annex get` in the folder that was cloned"),
    b"outs:\n- ": ("DVC's description of a file", "run `dvc pull`, and name the file without .dvc"),
}
PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|head|\?xml)", re.IGNORECASE)


def placeholder(start: bytes) -> str | None:
    """Describe what lies in a file's place, and the fix, by the file's first bytes; None if nothing is recognised."""
    for mark, (what, fix) in POINTERS.items():
        if start.startswith(mark):
            return f"is {what}, not the file itself; {fix}"
    if PAGE.match(start):
        return "is a web page, not the file itself; download the file again, and log in where the site asks for it"
    return None


def beginning(path: str | Path) -> bytes:
    """Return the first `START` bytes of a file; nothing if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(START)
    except (OSError, ValueError):  # a NUL in the path is a ValueError
        return b""


def existing(path: str | Path, param: str = "") -> Path:
    """Return the path of a file or folder.

    Parameters
    ----------
    param : str
        The param that names it, for the message; "" to leave it out.

    Raises
    ------
    UserError
        If it is missing, or a link to something that is.
    """
    path, where = Path(path), f"{param}: {path}" if param else f"{path}"
    if path.exists():
        return path
    if path.is_symlink():
        raise UserError(f"{where}: is a link to {path.readlink()}, which does not exist; get the file itself")
    described = path.with_name(f"{path.name}.dvc")
    if described.exists():
        raise UserError(f"{where}: not found, but {described.name} is there; run `dvc pull {described}`")
    raise UserError(f"{where}: not found; give the path of an existing file or folder")


def files_in(path: Path, suffixes: tuple[str, ...] = ("",)) -> list[Path]:
    """Return a file; or the files with the given ends in a folder and its sub-folders, sorted, at most `MOST_FILES`."""
    if not path.is_dir():
        return [path]
    found = (file for level in ("*", "*/*") for file in path.glob(level) if file.name.lower().endswith(suffixes))
    return sorted(file for file in islice(found, MOST_FILES) if file.is_file())


def refuse_placeholders(files: Iterable[str | Path], param: str = "") -> None:
    """Refuse files that lie in the place of other files.

    Parameters
    ----------
    files : iterable of paths
        Paths that are no files are ignored.
    param : str
        The param that names them, for the message; "" to leave it out.

    Raises
    ------
    UserError
        If a file is a pointer or a web page.
    """
    for path in files:
        what = placeholder(beginning(path))
        if what is not None:
            raise UserError(f"{param}: {path}: {what}" if param else f"{path}: {what}")
