"""Recognise files that lie in the place of other files: pointers of Git LFS, and web pages that were saved as data."""

from collections.abc import Iterable
from pathlib import Path

from falcon_dvc.errors import UserError

START = 512  # bytes that tell what a file is
POINTERS = {
    b"version https://git-lfs.github.com/spec/": (
        "a pointer of Git LFS",
        "install Git LFS and run `git lfs pull` in the folder that was cloned",
    ),
    b"version https://hawser.github.com/spec/": ("a pointer of Git LFS", "run `git lfs pull` in that folder"),
    b"/annex/objects/": ("a pointer of git-annex", "run `git annex get` in the folder that was cloned"),
    b"outs:\n- ": ("DVC's description of a file", "run `dvc pull`, and name the file without .dvc"),
}
PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml")


def placeholder(start: bytes) -> str | None:
    """Describe what lies in a file's place, and the fix, by the file's first bytes; None if nothing is recognised."""
    for mark, (what, fix) in POINTERS.items():
        if start.startswith(mark):
            return f"is {what}, not the file itself; {fix}"
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(PAGES):
        return "is a web page, not the file itself; download the file again, and log in where the site asks for it"
    return None


def beginning(path: str | Path) -> bytes:
    """Return the first `START` bytes of a file; nothing if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(START)
    except OSError:
        return b""


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
