"""Run a program whose commands share one process that has loaded the libraries: a warm process.

``python -m falcon_dvc.warm dvc repro`` is ``dvc repro``, but its stages start faster. Each stage is a command of its own.
Without a warm process, each starts Python and loads pandas, torch and others, which takes up to three seconds. Here, a
process beside DVC loads them once, and a stage asks it to be copied (``os.fork``). The copy runs the stage with the
arguments, the folder, the environment and the output of the one who asked. Its input is empty.

Libraries are loaded before, and the code that reads params.yaml. If one of the project's files that were loaded has changed,
the copy imports the project's code anew, so that an edit during a run has the same effect as without a warm process. While
there is none, or it still loads, a stage runs by itself.
"""

from __future__ import annotations

import gc
import importlib
import json
import multiprocessing
import os
import runpy
import shutil
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

ADDRESS = "FALCON_WARM"  # environment variable: the socket at which the warm process listens
# What the stages load. A library that is not installed is left out.
LIBRARIES = (
    "typer",
    "pydantic.main",
    "pydantic.type_adapter",
    "ruamel.yaml",
    "numpy",
    "pandas",
    "jaxtyping",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "scipy.sparse",
    "scipy.special",
    "scipy.stats",
    "sklearn.linear_model",
    "PIL.JpegImagePlugin",
    "jinja2",
    "nltk",
    "simplemma",
    "safetensors.numpy",
    "safetensors.torch",
    "torchvision",
    "open_clip",
    "efficientnet_lite_pytorch",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.bert.modeling_bert",
)
# What every stage loads of the project. The schema of the params takes a tenth of a second.
PROJECT = __package__ or "falcon_dvc"
CODE = (f"{PROJECT}.cli.pipeline", f"{PROJECT}.params.load")
STREAMS = (1, 2)  # that a copy shares with the one who asked: output and errors; its input is empty
LENGTH = 8  # bytes of a request's length, which are sent before it
SIGNALLED = 128  # exit code of a command that a signal ended, less the number of the signal

Request = dict[str, Any]
LOADED: dict[str, tuple[int, int]] = {}  # files of the project in the warm process, see `_files`


def main(command: list[str]) -> None:
    """Start a warm process beside this one, and become the program of the command line."""
    if not command:
        raise SystemExit("usage: python -m falcon_dvc.warm PROGRAM [ARGUMENT ...]")
    if hasattr(os, "pidfd_open"):  # Linux; elsewhere, a copy of a process with loaded libraries is not safe to use
        os.environ[ADDRESS] = _start()
    os.execvp(command[0], command)


def _start() -> str:
    """Start the warm process, which ends with this one; return the address at which it listens."""
    folder, program = Path(tempfile.mkdtemp(prefix="falcon-")), os.getpid()  # this user alone can open the folder
    address = str(folder / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        if os.fork():
            return address
        try:
            _load()
            listener.listen()  # until then, commands run by themselves and do not wait
            _serve(listener, os.pidfd_open(program))
        finally:
            shutil.rmtree(folder)
            os._exit(0)


def _load() -> None:
    """Load the libraries; close the streams, and leave Ctrl-C to the program and the copies, which receive it too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open(os.devnull, "r+b") as nothing:
        for stream in range(3):
            os.dup2(nothing.fileno(), stream)
    for module in (*LIBRARIES, *CODE):
        with suppress(Exception):  # a module that is broken is told by the command that needs it
            importlib.import_module(module)
    LOADED.update(_files())
    gc.collect()
    gc.freeze()  # the memory stays shared with the copies as long as their collector does not write to it


def _files() -> dict[str, tuple[int, int]]:
    """Return the time of the last change, and the size, of each loaded file of the project."""
    files = [module.__file__ for name, module in sys.modules.items() if _of_project(name)]
    stats = {file: os.stat(file) for file in files if file}
    return {file: (found.st_mtime_ns, found.st_size) for file, found in stats.items()}


def _of_project(module: str) -> bool:
    return module.partition(".")[0] == PROJECT


def _forget_changed_code() -> None:
    """Forget all modules of the project if a file of one has changed or is gone."""
    with suppress(OSError):
        if _files() == LOADED:
            return
    for name in list(filter(_of_project, sys.modules)):
        del sys.modules[name]


def _serve(listener: socket.socket, program: int) -> None:
    """Run requests in copies of this process until the program ends; a copy whose asker ends is killed."""
    copies: dict[socket.socket, ForkProcess] = {}
    while True:
        sentinels = [copy.sentinel for copy in copies.values()]
        ready = wait([listener, program, *copies, *sentinels])
        if program in ready:
            return
        if listener in ready:
            asker, _ = listener.accept()
            if copy := _copy(asker):
                copies[asker] = copy
        for asker, copy in list(copies.items()):
            if copy.sentinel in ready:
                _answer(copies.pop(asker), asker)
            elif asker in ready:
                copy.kill()


def _copy(asker: socket.socket) -> ForkProcess | None:
    """Start a copy of this process that runs what is asked for; None if the asker ended before it had asked."""
    length, streams, *_ = socket.recv_fds(asker, LENGTH, len(STREAMS))
    with asker.makefile("rb") as stream:
        message = stream.read(int.from_bytes(length, "big"))
    copy = None
    with suppress(ValueError):
        copy = multiprocessing.get_context("fork").Process(target=_run, args=(json.loads(message), streams))
        copy.start()
    for number in streams:
        os.close(number)
    return copy


def _answer(copy: ForkProcess, asker: socket.socket) -> None:
    """Tell how a copy ended; the code of one that a signal ended is that of shells."""
    copy.join()
    code = copy.exitcode or 0
    with suppress(OSError), asker:
        asker.sendall(bytes([code if code >= 0 else SIGNALLED - code]))


def _run(request: Request, streams: list[int]) -> None:
    """Run a module as ``python -m`` does, in this copy of the warm process."""
    for number, stream in zip(STREAMS, streams, strict=True):
        os.dup2(stream, number)
        os.close(stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["-m", *request["arguments"]]
    _forget_changed_code()
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


def delegate(module: str) -> None:
    """Run this command (``python -m MODULE``) in a copy of the warm process and exit as it does; return if there is none."""
    address = os.environ.pop(ADDRESS, None)
    if address is None:
        return
    with socket.socket(socket.AF_UNIX) as warm:
        try:
            warm.connect(address)
            _ask(warm, module)
        except OSError:
            return
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the copy receives Ctrl-C too, and ends
        answer = warm.recv(1)
    raise SystemExit(answer[0] if answer else f"{module}: the warm process ended before the command did")


def _ask(warm: socket.socket, module: str) -> None:
    request = {"module": module, "arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}
    message = json.dumps(request).encode()
    socket.send_fds(warm, [len(message).to_bytes(LENGTH, "big")], list(STREAMS))
    warm.sendall(message)


if __name__ == "__main__":
    if sys.path[:1] == [os.getcwd()]:
        sys.path.append(sys.path.pop(0))  # as in `stages`: this folder cannot replace an installed package
    main(sys.argv[1:])
