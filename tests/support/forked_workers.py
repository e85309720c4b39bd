"""Runs the tests in processes that are forked when the tests have been collected: `python -m pytest --workers N`.

Unlike the workers of pytest-xdist, they neither import nor collect again: what the tests import takes each process 14 seconds.
A worker takes one file after the other, as the tests of a file share fixtures. Workers that wait cost nothing, so that N may be
larger than the number of cores.
"""

import io
import multiprocessing
import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from multiprocessing.connection import Connection, wait
from tempfile import TemporaryFile
from typing import Any

import pytest

LONG = ("pipeline", "trials")  # folders of files that run the pipeline or other processes
FORK = multiprocessing.get_context("fork")
GRACE = 20  # seconds in which a worker that is interrupted may put away what its tests share


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--workers", type=int, default=0, metavar="N", help="run the tests in N forked processes")


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Share the files of tests out; without ``--workers``, leave the tests to pytest."""
    options = session.config.option
    if not options.workers or options.collectonly or session.testsfailed:
        return None
    session.config._tmp_path_factory.getbasetemp()  # the same for all
    files = [
        list(items) for _, items in groupby(range(len(session.items)), key=lambda number: session.items[number].path)
    ]
    # The long ones first, so that no worker is left with one at the end.
    files.sort(key=lambda numbers: session.items[numbers[0]].path.parent.name not in LONG)
    taken = FORK.Value("i", 0)
    workers = [Worker(session, name, files, taken) for name in range(min(options.workers, len(files)))]
    try:
        _pass_on_all(session, {worker.messages: worker for worker in workers})
    except (session.Failed, session.Interrupted):
        for worker in workers:
            worker.interrupt()
        raise
    finally:
        for worker in workers:
            worker.process.join(GRACE)
            worker.process.terminate()  # unless it has ended
            worker.process.join()
    return True


@dataclass
class Message:
    """What a worker tells between two tests.

    Attributes
    ----------
    reports, warnings : of the test that has ended.
    begins : number of the next test, if there is one.
    """

    reports: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    begins: int | None = None


# ---- In the first process


class Worker:
    """A process that runs tests.

    Attributes
    ----------
    test : number of the test that it runs.
    """

    def __init__(self, session: pytest.Session, name: int, files: list[list[int]], taken: Any) -> None:
        self.messages, sending = FORK.Pipe(duplex=False)
        self.process = FORK.Process(target=_work, args=(session, name, files, taken, sending))
        self.process.start()
        sending.close()  # its end is then the worker's
        self.test: int | None = None

    def interrupt(self) -> None:
        """Do what Ctrl-C does, which reaches the workers of a terminal by itself."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGINT)


def _pass_on_all(session: pytest.Session, workers: dict[Any, Worker]) -> None:
    """Pass on what the workers tell until all have ended, or a failure was one too many."""
    while workers:
        for messages in wait(list(workers)):
            try:
                message = messages.recv()
            except EOFError:
                _end(session, workers.pop(messages))
            else:
                _pass_on(session.config, message)
                workers[messages].test = message.begins
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)


def _pass_on(config: pytest.Config, message: Message) -> None:
    """Tell the plugins of this process what a test has reported."""
    for warned in message.warnings:
        config.hook.pytest_warning_recorded.call_historic(kwargs=_with_warning(**warned))
    for data in message.reports:
        report = config.hook.pytest_report_from_serializable(config=config, data=data)
        if report.when == "setup":
            config.hook.pytest_runtest_logstart(nodeid=report.nodeid, location=report.location)
        config.hook.pytest_runtest_logreport(report=report)
        if report.when == "teardown":
            config.hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)


def _with_warning(text: str, category: str, file: str, line: int, **others: Any) -> dict[str, Any]:
    """Make a warning again from its text; its class may be known to the worker alone."""
    return {**others, "warning_message": warnings.WarningMessage(text, type(category, (Warning,), {}), file, line)}


def _end(session: pytest.Session, worker: Worker) -> None:
    """Report the test in which a worker died as failed."""
    worker.process.join()
    if not worker.process.exitcode and worker.test is None:
        return
    died = f"worker ended with exit code {worker.process.exitcode}; the tests that it had taken were not run"
    if worker.test is None:
        pytest.exit(died, returncode=pytest.ExitCode.INTERNAL_ERROR)
    item = session.items[worker.test]
    report = pytest.TestReport(item.nodeid, item.location, {}, "failed", died, "call")
    session.config.hook.pytest_runtest_logreport(report=report)


# ---- In a worker


class Sender:
    """Plugin that collects what a test reports, and sends it."""

    def __init__(self, config: pytest.Config, sending: Connection) -> None:
        self._config, self._sending, self._message = config, sending, Message()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._message.reports.append(data)

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: Any
    ) -> None:
        made = warning_message
        described = {
            "text": str(made.message),
            "category": made.category.__name__,
            "file": made.filename,
            "line": made.lineno,
        }
        self._message.warnings.append({**described, "when": when, "nodeid": nodeid, "location": location})

    def send(self, begins: int | None) -> None:
        """Send what was collected, and the number of the test that begins."""
        self._message.begins = begins
        self._sending.send(self._message)
        self._message = Message()


def _work(session: pytest.Session, name: int, files: list[list[int]], taken: Any, sending: Connection) -> None:
    """Run files of tests until none is left."""
    _set_apart(session.config, f"worker{name}")
    sender = Sender(session.config, sending)
    session.config.pluginmanager.register(sender)
    try:
        with suppress(KeyboardInterrupt):
            _run(session, _numbers(files, taken), sender)
    finally:
        session._setupstate.teardown_exact(None)  # of tests that were interrupted


def _run(session: pytest.Session, numbers: Iterator[int], sender: Sender) -> None:
    """Run tests by their numbers."""
    number = next(numbers, None)
    while number is not None and not (session.shouldfail or session.shouldstop):
        following = next(numbers, None)
        sender.send(number)
        session.config.hook.pytest_runtest_protocol(
            item=session.items[number], nextitem=None if following is None else session.items[following]
        )
        number = following
    sender.send(None)


def _set_apart(config: pytest.Config, name: str) -> None:
    """Give a worker its own folder and its own record of the output; what it finds is shown by the first process."""
    os.environ["PYTEST_XDIST_WORKER"] = name  # by which tests/support/made_once.py and libraries know it
    folder = config._tmp_path_factory.getbasetemp() / name
    folder.mkdir(mode=0o700)
    config._tmp_path_factory._basetemp = folder
    config.get_terminal_writer()._file = io.StringIO()
    if config.option.capture == "fd":
        _record_apart(config.pluginmanager.getplugin("capturemanager")._global_capturing)


def _record_apart(capture: Any) -> None:
    """Put a file of this worker in the place of the one that all share; loggers hold on to the object that writes into it."""
    for stream in (capture.out, capture.err):
        with TemporaryFile() as own:
            os.dup2(own.fileno(), stream.tmpfile.fileno())


def _numbers(files: list[list[int]], taken: Any) -> Iterator[int]:
    """Yield the numbers of the tests of the files that no other worker takes."""
    while True:
        with taken.get_lock():
            file, taken.value = taken.value, taken.value + 1
        if file >= len(files):
            return
        yield from files[file]
