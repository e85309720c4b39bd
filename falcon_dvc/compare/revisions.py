"""Read files of a revision: texts from git, artefacts from DVC's cache. The working tree does not change."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from falcon_dvc.errors import UserError, one_line, refuse_conflict

if TYPE_CHECKING:
    from dvc.api import DVCFileSystem
    from dvc.repo import Repo

WORKSPACE = "workspace"
SHORT = 7  # characters shown of a commit's hash


class NotInCacheError(Exception):
    """An artefact of a revision that is not in DVC's cache; the message is its path."""


@dataclass(frozen=True)
class Revision:
    """A commit, an experiment, or the working tree.

    Attributes
    ----------
    name : name of the revision as the user wrote it.
    commit : its shortened hash; "" for the working tree.
    subject : first line of its message; "" for the working tree.
    """

    name: str
    commit: str
    subject: str
    _repo: Repo
    _files: DVCFileSystem | None = None

    @property
    def label(self) -> str:
        """The name, with the hash if they differ."""
        return self.name if not self.commit or self.name.startswith(self.commit) else f"{self.name} ({self.commit})"

    def text(self, path: str | Path) -> str | None:
        """Read a text file of this revision; None if there is no such file.

        Raises
        ------
        UserError
            If the file has conflict markers of git.
        """
        content = self._bytes(Path(path).as_posix())
        text = None if content is None else content.decode("utf-8", errors="replace")
        refuse_conflict(f"{path} at {self.name}", text or "", "resolve it, or compare revisions with complete results")
        return text

    def _bytes(self, path: str) -> bytes | None:
        if self._files is None:
            return Path(path).read_bytes() if Path(path).is_file() else None
        try:
            return bytes(self._files.read_bytes(path)) if self._files.isfile(path) else None
        except FileNotFoundError:  # tracked by DVC, and not in the cache
            return None

    def json(self, path: str | Path) -> Any:
        """Read a JSON file of this revision; None if there is no such file.

        Raises
        ------
        UserError
            If the file is not JSON.
        """
        text = self.text(path)
        try:
            return None if text is None else json.loads(text)
        except ValueError as error:
            raise UserError(
                f"{path} at {self.name} is not JSON ({error}); compare revisions with complete results"
            ) from error

    def names(self, folder: Path, suffix: str) -> list[str]:
        """List the stems of the files in a folder that end in `suffix`, sorted."""
        if self._files is None:
            files = [str(path) for path in folder.glob(f"*{suffix}")]
        else:
            place = folder.as_posix()
            files = self._files.ls(place, detail=False) if self._files.isdir(place) else []
        return sorted(Path(name).name.removesuffix(suffix) for name in files if name.endswith(suffix))

    def has(self, path: Path) -> bool:
        """Whether the revision has this file or folder, in the cache or not."""
        return path.exists() if self._files is None else bool(self._files.exists(path.as_posix()))

    def inputs(self, stage: str) -> dict[str, dict[str, str]]:
        """Collect the hashes of the inputs, except code, of each run ``stage@KEY``, by key."""
        hashes: dict[str, dict[str, str]] = {}
        for entry in self._repo.index.stages:
            name, _, key = (getattr(entry, "name", None) or "").partition("@")
            if name == stage and key:
                dependencies = {str(each.def_path): each.hash_info.value for each in entry.deps if each.hash_info}
                hashes[key] = {path: str(value) for path, value in dependencies.items() if not path.endswith(".py")}
        return hashes

    def contents(self, path: Path) -> dict[str, Path]:
        """Find the content of a file, or of each file in a folder, on this machine.

        Raises
        ------
        NotInCacheError
            If a file is not on this machine.
        """
        if self._files is None:
            return _on_disk(path)
        try:
            names = self._files.find(path.as_posix())
            return {name.lstrip("/"): _cached(self._files, name) for name in names} or _missing(path)
        except NotInCacheError:
            raise
        except Exception as error:  # each layer of DVC has its own errors
            raise NotInCacheError(str(path)) from error


def _missing(path: Path) -> dict[str, Path]:
    raise NotInCacheError(str(path))


def _on_disk(path: Path) -> dict[str, Path]:
    """Find files of the working tree."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    if not all(file.is_file() for file in files):
        raise NotInCacheError(str(path))
    return {file.as_posix(): file for file in files}


def _cached(files: DVCFileSystem, name: str) -> Path:
    """Find the file of DVC's cache with the content of a tracked file."""
    content = files.info(name).get("md5")
    cache = files.repo.cache.local
    if content is None or not cache.exists(content):
        raise NotInCacheError(name)
    return Path(cache.oid_to_path(content))


@contextmanager
def laid_out(revision: Revision, paths: Sequence[Path]) -> Iterator[Path]:
    """Provide artefacts of a revision in a temporary folder, under their own names.

    Raises
    ------
    NotInCacheError
        If an artefact is not on this machine.
    """
    contents = {name: place for path in paths for name, place in revision.contents(path).items()}
    # Usually on the disk of the cache, so that hard links are possible.
    beside = Path(".dvc/tmp")
    with TemporaryDirectory(dir=beside if beside.is_dir() else None, prefix="compare-") as folder:
        for name, place in contents.items():
            target = Path(folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(place, target)
        yield Path(folder)


def _link(place: Path, target: Path) -> None:
    """Link a file; copy it if the target is on another disk."""
    try:
        os.link(place.resolve(), target)
    except OSError:
        shutil.copyfile(place, target)


def open_revision(name: str) -> Revision:
    """Open a revision: a commit, a branch, a tag, an experiment's name or reference, or ``workspace``.

    Raises
    ------
    UserError
        If there is no such revision, or no repository.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.scm import RevError, SCMError

    try:
        return _workspace() if name == WORKSPACE else _committed(name)
    except NotDvcRepoError:
        raise UserError("no DVC repository here; run compare in the project's root") from None
    except RevError:
        raise UserError(_unknown(name)) from None
    except SCMError as error:
        raise UserError(
            f"compare reads revisions from git ({error}); run it in a git checkout of the project"
        ) from None
    except DvcException as error:
        raise UserError(
            f"{name}: DVC cannot read its dvc.yaml or dvc.lock ({one_line(error)}); compare another revision"
        ) from error


def _workspace() -> Revision:
    from dvc.repo import Repo

    return Revision(WORKSPACE, "", "", Repo("."))


def _committed(name: str) -> Revision:
    """Open a revision of git, with the hash and the subject of its commit."""
    from dvc.api import DVCFileSystem

    # Without a remote: a comparison must not wait for a network.
    files = DVCFileSystem(".", rev=name, config={"core": {"remote": ""}})
    _ = (
        files.repo.index.stages
    )  # slow: read it while the progress is shown, and with the name of the revision in errors
    commit = files.repo.scm.resolve_commit(files.repo.get_rev())
    subject = (commit.message.strip().splitlines() or [""])[0]
    return Revision(name, commit.hexsha[:SHORT], subject, files.repo, files)


def _unknown(name: str) -> str:
    return (
        f"there is no revision {name!r}; give a commit, branch or tag (`git log --oneline`), "
        f"an experiment (`dvc exp list`), or {WORKSPACE}"
    )
