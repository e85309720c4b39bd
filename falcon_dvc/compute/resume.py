"""Resume long stages: finished work is kept in ``data/.checkpoints`` until the stage is complete.

DVC deletes the outputs of a stage before it runs it, so the checkpoints are kept outside of them. A checkpoint is used
only if everything that it depends on is unchanged, else it is deleted.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialised

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import allocated, reporting_full_disk, write_bytes
from falcon_dvc.errors import UserError

FOLDER = paths.DATA / ".checkpoints"
STATE = "state.safetensors"
SECONDS = 10.0  # between two saves: the most work that can be lost
LIBRARIES = ("numpy", "scipy", "torch", "torchvision", "open_clip_torch", "pillow")


class _Flushed(Protocol):
    def flush(self) -> object:
        """Bring everything to the disk."""
        ...


Flushed = TypeVar("Flushed", bound=_Flushed)


class Checkpoint:
    """Intermediate results of a stage: arrays that are filled row by row, and the number of finished steps.

    Parameters
    ----------
    folder
        Folder of the checkpoint.
    depends_on
        Digest of everything that the results depend on.

    Attributes
    ----------
    finished : int
        Number of finished steps, which are not repeated.
    saved : dict of str to array
        Other arrays that were saved with them.
    """

    def __init__(self, folder: Path, depends_on: str) -> None:
        self._folder, self._depends_on = folder, depends_on
        self._arrays: dict[str, Any] = {}  # each has a method `flush`
        self.finished, self.saved, self._earlier = self._earlier_state()
        if not self.finished:
            shutil.rmtree(folder, ignore_errors=True)
        self._time = time.monotonic()

    def _earlier_state(self) -> tuple[int, dict[str, np.ndarray], list[str]]:
        """Return the finished steps, saved arrays and array names of an earlier process; empty if they do not match."""
        try:
            with safe_open(self._folder / STATE, framework="np") as file:
                state = json.loads(file.metadata()["state"])
                saved = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
        except (OSError, SafetensorError):
            return 0, {}, []
        whole = all((self._folder / name).exists() for name in state["arrays"])
        return (
            (state["finished"], saved, state["arrays"])
            if whole and state["depends_on"] == self._depends_on
            else (0, {}, [])
        )

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of all arrays, including those of an earlier process."""
        return tuple(sorted({*self._earlier, *self._arrays}))

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return a memory-mapped array to fill in. It contains the rows of finished steps.

        Raises
        ------
        UserError
            If the disk is full.
        """
        if name not in self._arrays:
            self._arrays[name] = self._opened(self._folder / name, shape, dtype)
        return self._arrays[name]

    def opened(self, name: str, opens: Callable[[Path], Flushed]) -> Flushed:
        """Return what writes a folder of the checkpoint, opened at the first call. A save flushes it.

        Raises
        ------
        UserError
            If the disk is full.
        """
        if name not in self._arrays:
            with reporting_full_disk(self._folder / name):
                self._arrays[name] = opens(self._folder / name)
        return self._arrays[name]

    def _opened(self, path: Path, shape: tuple[int, ...], dtype: Any) -> np.memmap:
        if path.name in self._earlier:
            return np.lib.format.open_memmap(path, mode="r+")
        with reporting_full_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            return allocated(path, shape, dtype)

    def save(self, finished: int, at_once: bool = False, **saved: np.ndarray) -> None:
        """Save the number of finished steps and other arrays.

        Parameters
        ----------
        finished
            Number of finished steps.
        at_once
            Save now. By default a call is ignored if the last save was less than `SECONDS` ago.
        **saved
            Small arrays that resuming needs.
        """
        if not at_once and time.monotonic() - self._time < SECONDS:
            return
        # The arrays are flushed first, so that every step that counts as finished is on the disk.
        for array in self._arrays.values():
            array.flush()
        state = {"depends_on": self._depends_on, "finished": finished, "arrays": self.arrays}
        write_bytes(self._folder / STATE, serialised(saved, {"state": json.dumps(state)}))
        self._time = time.monotonic()

    def move(self, name: str, path: Path) -> None:
        """Move a complete array or folder to its final path."""
        if name in self._arrays:
            self._arrays.pop(name).flush()
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(self._folder / name, path)


class Resumable:
    """The checkpoints of one stage.

    Attributes
    ----------
    folder : Path
        Folder of the checkpoints. The stage may put other temporary files there.
    """

    def __init__(self, name: str) -> None:
        self._name, self.folder = name, FOLDER / name

    def checkpoint(self, name: str, values: Mapping[str, Any], inputs: Iterable[str | Path] = ()) -> Checkpoint:
        """Open a checkpoint, with the results of an earlier process if they match.

        Parameters
        ----------
        name
            Name of the checkpoint, valid as the name of a folder.
        values
            Values that the results depend on, as JSON can hold them. A text that names a file or folder counts as an input.
        inputs
            Other files and folders that the results depend on.
        """
        checkpoint = Checkpoint(self.folder / name, digest_of(values, inputs))
        if checkpoint.finished:
            print(
                f"{self._name}: resumes after {checkpoint.finished} finished steps ({name})",
                file=sys.stderr,
                flush=True,
            )
        return checkpoint


@contextmanager
def resumable(name: str) -> Iterator[Resumable]:
    """Open the checkpoints of a stage; delete them when the block ends without an error."""
    work = Resumable(name)
    yield work
    shutil.rmtree(work.folder, ignore_errors=True)
    _remove_if_empty()


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Lock a stage, so that only one process runs it.

    Raises
    ------
    UserError
        If another process runs it, or the lock cannot be written.
    """
    lock = FOLDER / f"{name}.lock"
    with _opened(lock) as file:
        try:
            # Not flock, which child processes of a killed process would keep.
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
    with suppress(OSError):  # it is not empty, or it does not exist
        FOLDER.rmdir()


def digest_of(values: Mapping[str, Any], inputs: Iterable[str | Path] = ()) -> str:
    """Return the SHA-256 of code, library versions, `values`, and names, sizes and change times of all files read."""
    digest = hashlib.sha256(json.dumps([_code_and_versions(), values], sort_keys=True).encode())
    for path in [*_named_paths(values), *map(Path, inputs)]:
        for line in _file_states(path):
            digest.update(line)
    return digest.hexdigest()


@cache
def _code_and_versions() -> list[str]:
    """Return a digest of the code, and the versions of the libraries."""
    sources = sorted(source for folder in paths.code() for source in folder.rglob("*.py"))
    code = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    return [code, *(f"{name} {version(name)}" for name in LIBRARIES)]


def _named_paths(values: Any) -> Iterator[Path]:
    """Yield the files and folders that nested values name."""
    if isinstance(values, str) and "\0" not in values and os.path.exists(values):
        yield Path(values)
    elif isinstance(values, Mapping):
        yield from _named_paths(list(values.values()))
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _named_paths(value)


def _file_states(path: Path) -> Iterator[bytes]:
    """Yield name, size and change time of a file, or of all files of a folder."""
    files = sorted(Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    for file in files or [path]:
        try:
            status = file.stat()
        except OSError:  # the stage that reads the file reports it
            continue
        yield os.fsencode(file) + f" {status.st_size} {status.st_mtime_ns}\n".encode()
