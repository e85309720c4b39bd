"""`dvc` as a command of its own, in a fork of this process: a new Python would spend a second on imports alone."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NoReturn

COMMAND = [sys.executable, "-m", "dvc"]
KNOWN = {"cwd", "env", "check", "capture_output", "text", "stdout"}  # options of `subprocess.run`


def forking(plain: Callable[..., Any]) -> Callable[..., Any]:
    """`subprocess.run` that forks for `python -m dvc` with these options, and starts every other command as before."""

    @wraps(plain)
    def run(command: Any, *arguments: Any, **options: Any) -> Any:
        if arguments or not options.keys() <= KNOWN or list(command)[:3] != COMMAND:
            return plain(command, *arguments, **options)
        return _run(list(command), **options)

    return run


def _run(
    command: list[str],
    cwd: Path | str = ".",
    env: dict[str, str] | None = None,
    check: bool = False,
    capture_output: bool = False,
    text: bool = False,
    stdout: int | None = None,
) -> subprocess.CompletedProcess:
    import dvc.cli.parser
    import dvc.logger  # noqa: F401  imported once, before the forks

    kept = (capture_output or stdout == subprocess.PIPE, capture_output)
    with TemporaryFile() as output, TemporaryFile() as errors:
        process = os.fork()
        if process == 0:
            _become_dvc(
                command[3:],
                cwd,
                env,
                [file.fileno() if keep else None for file, keep in zip((output, errors), kept, strict=True)],
            )
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        read = [_content(file, text) if keep else None for file, keep in zip((output, errors), kept, strict=True)]
    done = subprocess.CompletedProcess(command, code, *read)
    if check:
        done.check_returncode()
    return done


def _content(file: Any, text: bool) -> bytes | str:
    file.seek(0)
    return file.read().decode() if text else file.read()


def _become_dvc(
    arguments: list[str], folder: Path | str, env: dict[str, str] | None, files: list[int | None]
) -> NoReturn:
    """Run DVC's command line in this process, which then ends."""
    code = 70
    try:
        os.chdir(folder)
        if env is not None:
            os.environ.clear()
            os.environ.update(env)
        _write_to(files)
        code = _main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _write_to(files: list[int | None]) -> None:
    """Let what is printed and logged go to these files, and no longer to pytest."""
    import dvc.logger

    for target, file in enumerate(files, start=1):
        if file is not None:
            os.dup2(file, target)
    sys.stdout, sys.stderr = (os.fdopen(target, "w", closefd=False) for target in (1, 2))
    for name in (None, "dvc", "dvc_objects", "dvc_data"):
        logging.getLogger(name).handlers.clear()
    dvc.logger.setup()


def _main(arguments: list[str]) -> int:
    from dvc.cli import main

    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
