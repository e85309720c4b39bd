"""Folders of captions: what lies in one stays in it."""

from collections.abc import Iterable
from pathlib import Path

from falcon_dvc.errors import UserError


def refuse_links_out(folder: Path, files: Iterable[Path]) -> None:
    """Refuse files that are links out of the folder: a corpus from elsewhere must not bring what else lies on this machine into a report.

    Raises
    ------
    UserError
        If there is one.
    """
    root = folder.resolve()
    for file in files:
        if not file.resolve().is_relative_to(root):
            raise UserError(f"data.captions: {file} is a link out of the folder {folder}; put the file itself there")
