"""A command in a copy of the warm process behaves as the command by itself."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# Without the libraries, whose loading is not tested.
WARM = "import sys; from falcon_dvc import warm; warm.LIBRARIES = (); warm.main(sys.argv[1:])"
READY = """while ! python -c 'import os, socket; socket.socket(socket.AF_UNIX).connect(os.environ["FALCON_WARM"])' 2> /dev/null
do sleep .05; done; """
COMMAND = """
import json, os, sys, time
from falcon_dvc.warm import ADDRESS, delegate
if __name__ == "__main__":
    delegate("command")
    if sys.argv[1:2] == ["wait"]:
        open("started", "w").write(str(os.getpid()))
        time.sleep(60)
    if sys.argv[1:2] == ["abort"]:
        os.abort()
    shown = {"arguments": sys.argv[1:], "folder": os.getcwd(), "set": os.environ.get("SET"), "input": sys.stdin.read()}
    shown |= {"address": os.environ.get(ADDRESS), "parent": os.getppid()}
    print(json.dumps(shown))
    print("to stderr", file=sys.stderr)
    sys.exit(int(os.environ.get("CODE", 0)))
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "command.py").write_text(COMMAND)
    return tmp_path


# A command that tells what a module of the project says, and which process loaded it.
OF_PROJECT = """
from falcon_dvc.warm import delegate
if __name__ == "__main__":
    delegate("of_project")
    from project import value
    print(value.VALUE, value.LOADED_BY)
"""
VALUE = "import os; VALUE, LOADED_BY = '{}', os.getpid()"
WARM_PROJECT = WARM.replace("()", "(); warm.PROJECT = 'project'; warm.CODE = ('project.value',)", 1)


def environment(folder, **more):
    path = os.pathsep.join([str(folder), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "TMPDIR": str(folder), **more}


def warm(folder, line, start=WARM, **more):
    """Run a line of the shell beside a warm process that listens; who only looks whether it does asks for nothing."""
    command = [sys.executable, "-c", start, "bash", "-c", (READY + line).replace("python", sys.executable)]
    return subprocess.run(
        command, cwd=folder, env=environment(folder, **more), capture_output=True, text=True, timeout=60, input="typed"
    )


def gone(path, seconds=10):
    end = time.monotonic() + seconds
    while path.exists() and time.monotonic() < end:
        time.sleep(0.05)
    return not path.exists()


def test_the_copy_has_arguments_folder_environment_and_output_of_the_command(folder):
    (folder / "inner").mkdir()
    result = warm(folder, "cd inner; SET=here CODE=7 python -m command one 'two words'")
    shown = json.loads(result.stdout)
    assert (result.returncode, result.stderr.strip()) == (7, "to stderr")
    assert shown["arguments"] == ["one", "two words"] and shown["folder"] == str(folder / "inner")
    assert (shown["set"], shown["input"], shown["address"]) == ("here", "", None)


def test_commands_are_copies_of_one_process_that_ends_with_the_program(folder):
    result = warm(folder, "python -m command; python -m command")
    parents = {json.loads(line)["parent"] for line in result.stdout.splitlines()}
    assert len(parents) == 1
    assert gone(Path(f"/proc/{parents.pop()}"))
    assert not [path for path in folder.iterdir() if path.name.startswith("falcon-")]


def test_code_of_the_project_is_loaded_once_and_anew_after_an_edit(folder):
    (folder / "of_project.py").write_text(OF_PROJECT)
    (folder / "project").mkdir()
    module = folder / "project" / "value.py"
    module.write_text(VALUE.format("first"))
    (folder / "edited").write_text(VALUE.format("another"))
    run = "python -m of_project; "
    result = warm(
        folder, f"{run}{run}cp edited {module}; {run}{run}rm -r {module} project/__pycache__; {run}", WARM_PROJECT
    )
    first, again, edited, then = (line.split() for line in result.stdout.splitlines())
    assert first[0] == "first" and again == first
    assert edited[0] == then[0] == "another" and len({first[1], edited[1], then[1]}) == 3
    assert "cannot import name 'value'" in result.stderr


def test_a_signal_gives_the_code_of_shells(folder):
    assert warm(folder, "python -m command abort").returncode == 128 + signal.SIGABRT


def test_an_error_of_a_stage_is_its_line(folder):
    result = warm(ROOT, "python -m stages nothing")
    assert result.returncode == 2 and result.stderr.startswith("error: nothing: no stage of dvc.yaml")


def test_a_killed_command_kills_its_copy(folder):
    line = "python -m command wait & while [ ! -s started ]; do sleep .05; done; kill -9 $!; sleep 1; cat started"
    result = warm(folder, line)
    assert gone(Path(f"/proc/{int(result.stdout)}"), seconds=1)


def test_without_an_answer_the_command_runs_by_itself(folder):
    command = [sys.executable, "-m", "command", "alone"]
    result = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder, FALCON_WARM=str(folder / "nothing")),
        capture_output=True,
        text=True,
        input="",
    )
    assert json.loads(result.stdout)["parent"] == os.getpid()
