"""Tell which links may be followed: those within a folder of data, and those into the cache of this DVC project."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

CACHED = re.compile(r"/(files/md5/)?[0-9a-f]{2}/[0-9a-f]{30}(\.dir)?$")  # a file in a cache of DVC, by its path
RELINK = "run `dvc config cache.type hardlink,copy` and `dvc checkout --relink`"


def leads_out(path: Path, root: Path) -> bool:
    """Return whether a path leads by links or ``..`` to a file that is neither in the folder nor in the cache of this project.

    With ``cache.type symlink``, DVC makes every file that it tracks a link into its cache.

    Parameters
    ----------
    path : Path
        The path.
    root : Path
        The folder, without links.
    """
    target = Path(os.path.realpath(path))
    return not target.is_relative_to(root) and not _in_cache(target)


def where_to(path: Path) -> str:
    """Return where a path that leads out of its folder leads, with what to do, if it is the cache of another DVC project; else ""."""
    into_cache = CACHED.search(Path(os.path.realpath(path)).as_posix())
    return f" into the cache of another DVC project ({RELINK} there)" if into_cache else ""


def _in_cache(target: Path) -> bool:
    """Return whether a file without links is an object in the cache of the DVC project of the working folder."""
    cached = _cache(Path.cwd()) if CACHED.search(target.as_posix()) else None
    return cached is not None and target.is_relative_to(cached)


@cache
def _cache(folder: Path) -> Path | None:
    """Return the cache of the DVC project of a folder, as DVC finds it; None outside of projects."""
    project = next((place for place in (folder, *folder.parents) if (place / ".dvc").is_dir()), None)
    if project is None:
        return None
    from dvc.config import Config

    local = project / ".dvc"
    directory = Config(str(local), validate=False).get("cache", {}).get("dir")
    return Path(os.path.realpath(local / (directory or "cache")))
