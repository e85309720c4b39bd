"""Stages that do not need each other run at a time, and leave what ``dvc repro`` leaves."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from falcon_dvc.cli.pipeline import require_readable
from falcon_dvc.side_by_side import kept, restore, run
from tests.support.paths import ROOT

PIPELINE = """stages:
  first: {cmd: "sleep .2 && echo 1 > a.txt", outs: [a.txt]}
  left: {cmd: "touch left.on && while [ ! -e right.on ]; do sleep .05; done && cp a.txt b.txt", deps: [a.txt], outs: [b.txt]}
  right: {cmd: "touch right.on && while [ ! -e left.on ]; do sleep .05; done && cp a.txt c.txt", deps: [a.txt], outs: [c.txt]}
  last: {cmd: "cat b.txt c.txt > d.txt", deps: [b.txt, c.txt], outs: [{d.txt: {cache: false}}]}
"""


def logged(log, name, seconds=0.05):
    """Note when work starts and ends."""
    (log / f"{name}.start").write_text(str(time.monotonic()))
    time.sleep(seconds)
    (log / f"{name}.end").write_text(str(time.monotonic()))


def at(log, name):
    return float((log / name).read_text())


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=6), st.integers(1, 3))
def test_work_waits_for_what_it_needs_and_for_a_place(tmp_path_factory, wanted, jobs):
    log = tmp_path_factory.mktemp("log")
    needs = {str(number): {str(one) for one in some if one < number} for number, some in enumerate(wanted)}
    assert run(needs, list, lambda name: logged(log, name, 0.02), jobs) == []
    for name, needed in needs.items():
        assert all(at(log, f"{other}.end") <= at(log, f"{name}.start") for other in needed)
        beside = [at(log, f"{one}.start") <= at(log, f"{name}.start") < at(log, f"{one}.end") for one in needs]
        assert sum(beside) <= jobs


def test_two_at_a_time(tmp_path):
    run({"a": set(), "b": set(), "c": {"a"}}, list, lambda name: logged(tmp_path, name, 0.3), 2)
    assert at(tmp_path, "b.start") < at(tmp_path, "a.end")


def test_unchanged_work_counts_as_ended(tmp_path):
    run(
        {"a": set(), "b": {"a"}},
        lambda names: [name for name in names if name == "b"],
        lambda n: logged(tmp_path, n),
        2,
    )
    assert not (tmp_path / "a.start").exists() and (tmp_path / "b.end").exists()


def test_after_a_failure_nothing_more_starts_and_what_runs_ends(tmp_path):
    def work(name):
        if name == "bad":
            sys.exit(1)
        logged(tmp_path, name, 0.3)

    assert run({"bad": set(), "beside": set(), "after": {"beside"}}, list, work, 2) == ["bad"]
    assert (tmp_path / "beside.end").exists() and not (tmp_path / "after.start").exists()


@pytest.fixture
def project(tmp_path):
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    dvc(tmp_path, "init", "-q")
    return tmp_path


def called(folder, *command):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1", "CI": "1"}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def dvc(folder, *arguments):
    return called(folder, "dvc", *arguments)


def test_a_pipeline_is_up_to_date_for_dvc_afterwards(project):
    result = called(project, "falcon_dvc.side_by_side", "2")
    assert result.returncode == 0, result.stderr
    assert (project / "d.txt").read_text() == "1\n1\n"
    assert "up to date" in dvc(project, "status").stdout
    again = called(project, "falcon_dvc.side_by_side", "2")
    assert again.returncode == 0 and "Running stage" not in again.stdout


def test_a_stage_that_fails_is_named(project):
    (project / "dvc.yaml").write_text(PIPELINE.replace("cat b.txt c.txt > d.txt", "exit 3"))
    result = called(project, "falcon_dvc.side_by_side", "2")
    assert result.returncode == 1 and "failed to reproduce: last" in result.stderr
    assert "exited with 3" in result.stderr


def locked_by(project, pid):
    """Leave the file in which DVC notes who works on a stage, as a killed run leaves it."""
    own = {"pid": pid, "cmd": "a run that was killed"}
    (project / ".dvc/tmp").mkdir(exist_ok=True)
    (project / ".dvc/tmp/rwlock").write_text(json.dumps({"write": {str(project / "a.txt"): own}, "read": {}}))


def test_a_stage_waits_for_the_end_of_a_process_that_was_killed(project):
    with subprocess.Popen(["sleep", "60"]) as dying:
        locked_by(project, dying.pid)
        dying.kill()  # it exists until its end is noted below
        running = subprocess.Popen(
            [sys.executable, "-m", "falcon_dvc.side_by_side", "2"],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1"},
        )
        time.sleep(3)
    assert running.wait(60) == 0 and (project / "d.txt").exists()


def test_a_stage_of_another_run_is_refused(project):
    locked_by(project, os.getpid())
    result = called(project, "falcon_dvc.side_by_side", "2")
    assert result.returncode == 1 and "is busy" in result.stderr and not (project / "a.txt").exists()


@pytest.mark.parametrize("content", ['{"write": {"a', '{"write": 5}'])
def test_notes_of_dvc_that_were_cut_off_are_made_again(project, content):
    (project / ".dvc/tmp").mkdir(exist_ok=True)
    (project / ".dvc/tmp/rwlock").write_text(content)
    assert called(project, "falcon_dvc.side_by_side", "2").returncode == 0
    assert (project / "d.txt").exists()


def killed_while_writing(folder):
    """Leave what a process leaves that is killed while it writes the file `lock`."""
    process = multiprocessing.get_context("fork").Process(target=write_and_die, args=(folder,))
    process.start()
    process.join()
    assert (folder / "lock").read_text() == "cut o"


def write_and_die(folder):
    with kept(folder / "lock", folder / "copy"):
        (folder / "lock").write_text("cut o")
        os._exit(9)


@pytest.mark.parametrize("before", ["as it was", None])
def test_a_file_is_restored_after_a_kill(tmp_path, before):
    if before:
        (tmp_path / "lock").write_text(before)
    killed_while_writing(tmp_path)
    restore(tmp_path / "lock", tmp_path / "copy")
    assert (tmp_path / "lock").exists() == bool(before)
    assert before is None or (tmp_path / "lock").read_text() == before
    assert not (tmp_path / "copy").exists()


def test_the_next_process_that_writes_the_file_restores_it_too(tmp_path):
    (tmp_path / "lock").write_text("as it was")
    killed_while_writing(tmp_path)
    with kept(tmp_path / "lock", tmp_path / "copy"):
        assert (tmp_path / "lock").read_text() == "as it was"
        (tmp_path / "lock").write_text("new")
    restore(tmp_path / "lock", tmp_path / "copy")
    assert (tmp_path / "lock").read_text() == "new" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("checked", [False, True])
def test_a_lock_file_that_a_killed_run_left_is_restored(project, checked):
    assert called(project, "falcon_dvc.side_by_side", "2").returncode == 0
    lock = (project / "dvc.lock").read_text()
    (project / ".dvc/tmp/dvc.lock.kept").write_text(lock)
    (project / "dvc.lock").write_text(lock[: len(lock) // 2])
    if checked:
        require_readable(project)  # as `falcon check`, which make runs first
        assert (project / "dvc.lock").read_text() == lock and not (project / ".dvc/tmp/dvc.lock.kept").exists()
    again = called(project, "falcon_dvc.side_by_side", "2")
    assert again.returncode == 0 and "Running stage" not in again.stdout
    assert (project / "dvc.lock").read_text() == lock


def test_ctrl_c_ends_all_stages_in_one_line_each(project):
    (project / "dvc.yaml").write_text(PIPELINE.replace("touch left.on", "touch left.on && sleep 60"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1"}
    command = [sys.executable, "-m", "falcon_dvc.side_by_side", "2"]
    process = subprocess.Popen(
        command,
        cwd=project,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    while not (project / "c.txt").exists():
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 130 and "Traceback" not in said and "left" in said
    assert not (project / "d.txt").exists()


def test_a_pipeline_that_dvc_cannot_read_is_one_line(project):
    (project / "dvc.yaml").write_text("stages: [")
    result = called(project, "falcon_dvc.side_by_side", "2")
    assert result.returncode == 1 and result.stderr.startswith("ERROR: ") and "dvc.yaml" in result.stderr
