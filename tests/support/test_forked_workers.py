"""The workers run every test once, each file in one process, and the first process tells what they found."""

import os
import subprocess
import sys
from collections import defaultdict

import pytest

from tests.support.paths import ROOT

SHARED = """
import logging, os, sys
import pytest

logging.getLogger("mine").addHandler(logging.StreamHandler(sys.stdout))

@pytest.fixture(scope="session", autouse=True)
def noted(tmp_path_factory):
    begun = tmp_path_factory.getbasetemp() / "begun"
    begun.touch(exist_ok=False)
    yield
    with open({log!r}, "a") as log:
        log.write(f"- {{os.getpid()}}\\n")

@pytest.fixture(autouse=True)
def logged(request):
    with open({log!r}, "a") as log:
        log.write(f"{{request.node.nodeid}} {{os.getpid()}}\\n")
"""
OUTCOMES = """
import logging
import time
import warnings
import pytest

def test_passes(): time.sleep(0.2)
def test_fails(): print("what it printed"); logging.getLogger("mine").warning("what it logged"); assert [1] == [2]
def test_warns(): warnings.warn("what it warns of")
def test_is_skipped(): pytest.skip("why it is skipped")
@pytest.mark.xfail
def test_is_expected_to_fail(): assert False
@pytest.fixture
def broken(): yield; raise ValueError("what is not put away")
def test_leaves_something(broken): pass
"""
DYING = """
import os, signal

def test_before(): pass
def test_dies(): os.kill(os.getpid(), signal.SIGKILL)
def test_after(): pass
"""
PLAIN = "def test_one(): pass\ndef test_two(): pass\n"


def run(folder, files, *options):
    """Run tests in a process of their own; give its exit code, what it printed, and the process of each test."""
    log = folder / "log"
    for name, text in (("conftest", SHARED.format(log=str(log))), *files.items()):
        (folder / f"{name}.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir", str(folder), "-p", "no:cacheprovider"]
    command += ["-p", "tests.support.forked_workers", "--workers", "2", "-rA", "--basetemp", str(folder / "tmp")]
    command += [*options, str(folder)]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "200"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    ran = defaultdict(list)
    for line in log.read_text().splitlines():
        name, process = line.split()
        ran[name].append(process)
    return ended.returncode, ended.stdout + ended.stderr, ran


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole"), {"test_a": OUTCOMES, "test_b": PLAIN, "test_c": PLAIN})


def test_every_test_runs_once_and_each_file_in_one_process(whole):
    _, _, ran = whole
    ended = ran.pop("-")
    assert len(ran) == 10 and all(len(processes) == 1 for processes in ran.values())
    of_files = defaultdict(set)
    for name, (process,) in ran.items():
        of_files[name.split("::")[0]].add(process)
    assert all(len(processes) == 1 for processes in of_files.values()) and len(of_files) == 3
    assert set(ended) == set().union(*of_files.values()), "fixtures of the session end in each worker"


def test_what_the_workers_find_is_told(whole):
    code, said, _ = whole
    assert code == 1 and "1 failed, 7 passed, 1 skipped, 1 xfailed, 1 warning, 1 error" in said
    for words in (
        "assert [1] == [2]",
        "what it printed\nwhat it logged",
        "UserWarning: what it warns of",
        "why it is skipped",
    ):
        assert words in said
    assert "ERROR at teardown of test_leaves_something" in said and "what is not put away" in said


def test_a_test_that_ends_its_process_fails(tmp_path):
    code, said, _ = run(tmp_path, {"test_a": DYING, "test_b": PLAIN})
    assert code == 1 and "1 failed, 3 passed" in said
    assert "test_a.py::test_dies - worker ended with exit code -9" in said


def test_the_first_failure_can_end_the_run(tmp_path):
    code, said, ran = run(tmp_path, {f"test_{name}": OUTCOMES for name in "abcdef"}, "-x")
    assert code == 1 and "stopping after 1 failures" in said
    assert len(ran.pop("-")) == 2, "fixtures of the session end in both workers"
    assert len(ran) < 36 and "KeyboardInterrupt" not in said
