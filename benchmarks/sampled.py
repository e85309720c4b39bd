"""Run a stage as the command line does, and look a hundred times a second at what its main thread is doing.

``python -m benchmarks.sampled OUT STAGE [KEY]`` in a project's folder; OUT gets the seconds of each group, the processor time and the
memory as JSON. Nothing but the standard library is imported here: what a stage imports is part of its time. Beside a warm process
(`falcon_dvc.warm`), the stage runs in a copy of it, as it does for DVC.
"""

import json
import os
import resource
import runpy
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

EVERY = 0.01  # seconds
STARTING, FILES, COMPUTING = "starting", "files", "computing"
IMPORTING = "<frozen importlib"
# Readers and writers; whoever waits for another thread here waits for pictures to be decoded.
FILE_WORK = (
    "/falcon_dvc/artifacts/formats.py",
    "/falcon_dvc/images/",
    "/falcon_dvc/captions/",
    "/pyarrow/",
    "/PIL/",
    "/safetensors/",
    "/concurrent/futures/",
)


def group(files: Iterable[str]) -> str:
    """Return what a thread is doing, from the files of the functions that it is in, the innermost first."""
    files = list(files)
    if any(file.startswith(IMPORTING) for file in files):
        return STARTING
    return FILES if any(part in file for file in files for part in FILE_WORK) else COMPUTING


def _files(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        yield frame.f_code.co_filename
        frame = frame.f_back


def watch(thread: int, ended: threading.Event, seconds: dict[str, float]) -> None:
    """Add the time between two looks to the group of the second, until `ended` is set."""
    last = time.perf_counter()
    while not ended.wait(EVERY):
        found, now = group(_files(sys._current_frames().get(thread))), time.perf_counter()
        seconds[found] += now - last
        last = now


def main(out: Path, arguments: list[str]) -> None:
    """Run the stage."""
    seconds, ended = dict.fromkeys((STARTING, FILES, COMPUTING), 0.0), threading.Event()
    watcher = threading.Thread(target=watch, args=(threading.get_ident(), ended, seconds), daemon=True)
    sys.path.insert(0, os.getcwd())
    sys.argv = ["stages", *arguments]
    watcher.start()
    try:
        runpy.run_module("stages", run_name="__main__", alter_sys=True)
    finally:
        ended.set()
        watcher.join()
        out.write_text(json.dumps({"seconds": seconds, **used()}))


def used() -> dict[str, float]:
    """Return the processor time of this process and of those that it started, and the most memory of one."""
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "cpu_seconds": sum(one.ru_utime + one.ru_stime for one in found),
        "peak_mb": max(one.ru_maxrss for one in found) * 1024 / 1e6,
    }


if __name__ == "__main__":
    if "FALCON_WARM" in os.environ:
        from falcon_dvc.warm import delegate

        delegate("benchmarks.sampled")
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
