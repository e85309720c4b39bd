"""Check that the files of a caption folder lie in that folder."""

from collections.abc import Iterable
from pathlib import Path

from falcon_dvc.artifacts.links import leads_out, where_to
from falcon_dvc.errors import UserError


def refuse_links_out(folder: Path, files: Iterable[Path]) -> None:
    """Refuse files that are links out of the folder, to anything but the cache of this DVC project.

    A downloaded corpus must not copy other files of this machine into a report.

    Raises
    ------
    UserError
        If a file is such a link.
    """
    root = folder.resolve()
    for file in files:
        if leads_out(file, root):
            raise UserError(
                f"data.captions: {file} is a link out of the folder {folder}{where_to(file)}; put the file itself there"
            )
