"""Check that the files of a caption folder lie in that folder."""

from collections.abc import Iterable
from pathlib import Path

from falcon_dvc.errors import UserError


def refuse_links_out(folder: Path, files: Iterable[Path]) -> None:
    """Refuse files that are links out of the folder.

    A downloaded corpus must not copy other files of this machine into a report.

    Raises
    ------
    UserError
        If a file is such a link.
    """
    root = folder.resolve()
    for file in files:
        if not file.resolve().is_relative_to(root):
            raise UserError(f"data.captions: {file} is a link out of the folder {folder}; put the file itself there")
