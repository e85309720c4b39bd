"""Run the stages of ``dvc.yaml`` as ``dvc repro`` does, several at a time.

``python -m falcon_dvc.side_by_side JOBS`` in the folder of a pipeline. DVC runs one stage after the other, and between two it
writes the whole dvc.lock. Here, a stage starts when those that it needs have ended, at most JOBS at a time. A process for each
does what DVC does for a stage (run it, save its outputs, write it to dvc.lock), under the locks by which DVC lets several
``dvc repro`` of one project run at a time.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from falcon_dvc.progress import SEVERAL

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

Result = TypeVar("Result")
PATIENCE, EVERY = 5.0, 0.2  # seconds until work is given up that another process refuses, and between two tries
LOCK, KEPT = Path("dvc.lock"), "dvc.lock.kept"
INTERRUPTED = 130  # exit code of a program that Ctrl-C ended


def main(jobs: int) -> None:
    """Run all stages of the working folder; end with 1 if one fails."""
    from dvc.exceptions import DvcException

    logging.getLogger("dvc").setLevel(logging.INFO)
    if jobs > 1:
        os.environ[SEVERAL] = "1"
    try:
        failed = run_pipeline(jobs)
    except DvcException as error:  # for instance, another run works on a stage
        raise SystemExit(f"ERROR: {error}") from error
    except KeyboardInterrupt:  # the stages receive it too; Python waits for their processes
        raise SystemExit(INTERRUPTED) from None
    if failed:
        raise SystemExit(f"failed to reproduce: {', '.join(failed)}")


def run_pipeline(jobs: int) -> list[str]:
    """Run the stages of the working folder that have changed; return the names of those that failed."""
    from dvc.repo import Repo, lock_repo

    repo = Repo(_wait_for_lock=True)
    with lock_repo(repo):
        restore(LOCK, Path(repo.tmp_dir) / KEPT)
        graph = repo.index.graph
        stages = {stage.addressing: stage for stage in repo.index.stages}
        needs = {name: {other.addressing for other in graph.successors(stage)} for name, stage in stages.items()}

    def changed(names: list[str]) -> list[str]:
        with lock_repo(repo):
            return [name for name in names if when_free(stages[name].changed, repo)]

    return run(needs, changed, lambda name: reproduce(repo, stages[name]), jobs)


def reproduce(repo: Any, stage: Any) -> None:
    """Do for one stage what ``dvc repro --single-item`` does."""
    from dvc.exceptions import DvcException
    from dvc.repo import lock_repo

    def once() -> None:
        with lock_repo(repo), repo.scm_context(quiet=True):
            if stage.reproduce():
                with kept(LOCK, Path(repo.tmp_dir) / KEPT):
                    stage.dump(update_pipeline=False)

    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C ends the command, and DVC then tells that it failed
    try:
        when_free(once, repo)
    except DvcException as error:
        print(f"ERROR: {error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from error


def restore_after_kill(folder: Path) -> None:
    """Restore dvc.lock of a project if a run was killed while DVC wrote it; a run that is writing it now may end first."""
    if not (folder / ".dvc" / "tmp" / KEPT).exists():
        return
    from dvc.repo import Repo, lock_repo

    repo = Repo(str(folder), _wait_for_lock=True)
    with lock_repo(repo):
        restore(folder / LOCK, Path(repo.tmp_dir) / KEPT)


@contextmanager
def kept(file: Path, copy: Path) -> Iterator[None]:
    """Keep a copy of a file while it is written, from which `restore` makes it again if this process is killed meanwhile.

    DVC writes dvc.lock in place, which takes up to a second.
    """
    restore(file, copy)
    partial = copy.with_suffix(".partial")
    partial.write_bytes(file.read_bytes() if file.exists() else b"")
    partial.replace(copy)
    yield
    copy.unlink()


def restore(file: Path, copy: Path) -> None:
    """Make a file again as it was before a process was killed that wrote it; an empty copy stands for no file."""
    if not copy.exists():
        return
    if copy.stat().st_size:
        file.write_bytes(copy.read_bytes())
    else:
        file.unlink(missing_ok=True)
    copy.unlink()


def when_free(work: Callable[[], Result], repo: Any) -> Result:
    """Do work that DVC refuses while another process has its files, at most for `PATIENCE` seconds.

    The processes of a run that was killed still exist for a moment, and DVC takes them for another run. The file in which DVC
    notes them is useless if the run was killed while DVC wrote it.
    """
    from dvc.lock import LockError
    from dvc.rwlock import RWLOCK_FILE, RWLockFileCorruptedError, RWLockFileFormatError

    end = time.monotonic() + PATIENCE
    while True:
        try:
            return work()
        except LockError:
            if time.monotonic() > end:
                raise
        except (RWLockFileCorruptedError, RWLockFileFormatError):
            if time.monotonic() > end:
                raise
            (Path(repo.tmp_dir) / RWLOCK_FILE).unlink(missing_ok=True)
        time.sleep(EVERY)


def run(
    needs: Mapping[str, set[str]],
    changed: Callable[[list[str]], list[str]],
    work: Callable[[str], None],
    jobs: int,
) -> list[str]:
    """Run work in processes, each when all that it needs has ended; after a failure, no further work starts.

    Parameters
    ----------
    needs : what each work needs, in the order in which works that are ready start.
    changed : those of some works, all ready, that must run.
    work : called with its name, in a copy of this process.
    jobs : processes at a time.

    Returns
    -------
    Names of the work that failed.
    """
    waiting, ended = dict(needs), set[str]()
    failed: list[str] = []
    ready: list[str] = []
    running: dict[str, ForkProcess] = {}
    while True:
        while new := [name for name, needed in waiting.items() if needed <= ended]:
            must = set(changed(new))
            ready += [name for name in new if name in must]
            ended |= set(new) - must
            for name in new:
                del waiting[name]
        while ready and len(running) < jobs and not failed:
            name = ready.pop(0)
            running[name] = multiprocessing.get_context("fork").Process(target=work, args=(name,))
            running[name].start()
        if not running:
            return failed
        wait([process.sentinel for process in running.values()])
        for name, process in [(name, process) for name, process in running.items() if process.exitcode is not None]:
            del running[name]
            if process.exitcode:
                failed.append(name)
            else:
                ended.add(name)


if __name__ == "__main__":
    main(int(sys.argv[1]))
