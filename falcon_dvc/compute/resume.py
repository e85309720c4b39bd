"""Work of a long stage that survives its end: what is finished of it is kept outside the stage's outputs and taken up again.

DVC deletes the outputs of a stage before it runs it, so the work lies in ``data/.checkpoints`` until the stage is complete. A part of it is
taken up only if everything that it was made of is still the same, else it is thrown away.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialised

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import allocated, reporting_full_disk, write_bytes
from falcon_dvc.errors import UserError

FOLDER = paths.DATA / ".checkpoints"
STATE = "state.safetensors"
SECONDS = 10.0  # of work that may be lost
LIBRARIES = ("numpy", "scipy", "torch", "torchvision", "open_clip_torch", "pillow")


class Checkpoint:
    """A part of a stage's work: arrays that are filled row by row, and how many steps are finished.

    Parameters
    ----------
    folder
        Where it is kept.
    depends_on
        Digest of everything that it depends on.

    Attributes
    ----------
    finished : int
        Steps that need not be done again.
    saved : dict of str to array
        What was noted with them.
    """

    def __init__(self, folder: Path, depends_on: str) -> None:
        self._folder, self._depends_on = folder, depends_on
        self._arrays: dict[str, np.memmap] = {}
        self.finished, self.saved, self._earlier = self._earlier_state()
        if not self.finished:
            shutil.rmtree(folder, ignore_errors=True)
        self._time = time.monotonic()

    def _earlier_state(self) -> tuple[int, dict[str, np.ndarray], list[str]]:
        """Steps that an earlier process finished, what it noted, and its arrays; nothing if they are of other work."""
        try:
            with safe_open(self._folder / STATE, framework="np") as file:
                state = json.loads(file.metadata()["state"])
                saved = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
        except (OSError, SafetensorError):
            return 0, {}, []
        whole = all((self._folder / name).is_file() for name in state["arrays"])
        return (
            (state["finished"], saved, state["arrays"])
            if whole and state["depends_on"] == self._depends_on
            else (0, {}, [])
        )

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays, those among them that nothing has asked for since an earlier process made them."""
        return tuple(sorted({*self._earlier, *self._arrays}))

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an array on disk, to be filled in; what finished steps filled in is there.

        Raises
        ------
        UserError
            If the disk is full.
        """
        if name not in self._arrays:
            self._arrays[name] = self._opened(self._folder / name, shape, dtype)
        return self._arrays[name]

    def _opened(self, path: Path, shape: tuple[int, ...], dtype: Any) -> np.memmap:
        if path.name in self._earlier:
            return np.lib.format.open_memmap(path, mode="r+")
        with reporting_full_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            return allocated(path, shape, dtype)

    def save(self, finished: int, at_once: bool = False, **saved: np.ndarray) -> None:
        """Say how many steps are finished, and what else has to be known of them; written down every `SECONDS`, or at once."""
        if not at_once and time.monotonic() - self._time < SECONDS:
            return
        # The arrays first: a step that is noted is on the disk.
        for array in self._arrays.values():
            array.flush()
        state = {"depends_on": self._depends_on, "finished": finished, "arrays": self.arrays}
        write_bytes(self._folder / STATE, serialised(saved, {"state": json.dumps(state)}))
        self._time = time.monotonic()

    def move(self, name: str, path: Path) -> None:
        """Move a complete array to its place."""
        if name in self._arrays:
            self._arrays.pop(name).flush()
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self._folder / name, path)


class Resumable:
    """The parts of one stage's work.

    Attributes
    ----------
    folder : Path
        Where they are kept; it may hold other files that the stage needs for itself.
    """

    def __init__(self, name: str) -> None:
        self._name, self.folder = name, FOLDER / name

    def checkpoint(self, name: str, values: Mapping[str, Any], inputs: Iterable[str | Path] = ()) -> Checkpoint:
        """Return a part, taken up where an earlier process left it.

        Parameters
        ----------
        name
            Of the part, fit for a folder.
        values
            What it depends on, as JSON can hold it; texts among it that name files or folders are read by it, too.
        inputs
            Other files and folders that it reads.
        """
        checkpoint = Checkpoint(self.folder / name, digest_of(values, inputs))
        if checkpoint.finished:
            print(
                f"{self._name}: goes on after {checkpoint.finished} finished before ({name})",
                file=sys.stderr,
                flush=True,
            )
        return checkpoint


@contextmanager
def resumable(name: str) -> Iterator[Resumable]:
    """The work of a stage, named so; all that was kept of it is forgotten when the block ends without an error."""
    work = Resumable(name)
    yield work
    shutil.rmtree(work.folder, ignore_errors=True)
    _remove_if_empty()


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Refuse to run what another process is running.

    Raises
    ------
    UserError
        If it does, or if nothing can be written.
    """
    lock = FOLDER / f"{name}.lock"
    with _opened(lock) as file:
        try:
            # Not flock, which lives on in processes that a killed one started.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{name} is being run by another process; wait until that has ended") from error
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
            _remove_if_empty()


def _opened(lock: Path) -> IO[bytes]:
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        return lock.open("wb")
    except OSError as error:
        raise UserError(f"{lock}: cannot be written ({error.strerror}); allow writing in {paths.DATA}") from error


def _remove_if_empty() -> None:
    with suppress(OSError):  # other work is left in it, or there never was any
        FOLDER.rmdir()


def digest_of(values: Mapping[str, Any], inputs: Iterable[str | Path] = ()) -> str:
    """SHA-256 of the code, the libraries, some values, and names, sizes and times of change of all files read."""
    digest = hashlib.sha256(json.dumps([_program(), values], sort_keys=True).encode())
    for path in [*_named(values), *map(Path, inputs)]:
        for line in _listed(path):
            digest.update(line)
    return digest.hexdigest()


@cache
def _program() -> list[str]:
    """Return the versions of what computes."""
    sources = sorted(source for folder in paths.code() for source in folder.rglob("*.py"))
    code = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    return [code, *(f"{name} {version(name)}" for name in LIBRARIES)]


def _named(values: Any) -> Iterator[Path]:
    """Files and folders that are named in nested values."""
    if isinstance(values, str) and "\0" not in values and os.path.exists(values):
        yield Path(values)
    elif isinstance(values, Mapping):
        yield from _named(list(values.values()))
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _named(value)


def _listed(path: Path) -> Iterator[bytes]:
    """Name, size and time of change of a file, or of all files of a folder."""
    inside = sorted(Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    for file in inside or [path]:
        try:
            status = file.stat()
        except OSError:  # what reads it will say what is wrong
            continue
        yield os.fsencode(file) + f" {status.st_size} {status.st_mtime_ns}\n".encode()
