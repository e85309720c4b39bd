"""A fork that runs DVC says and does what a process of its own would."""

import subprocess

import pytest

from tests.support.forked_commands import COMMAND, forking


@pytest.fixture(scope="module")
def forked():
    def never(*_, **__):
        pytest.fail("started another process")

    return forking(never)


def test_it_runs_in_the_folder_and_tells_what_it_said(forked, tmp_path, capfd):
    assert forked([*COMMAND, "init", "-q", "--no-scm"], cwd=tmp_path).returncode == 0
    assert (tmp_path / ".dvc/config").exists()
    root = forked([*COMMAND, "root"], cwd=tmp_path / ".dvc", check=True, stdout=subprocess.PIPE, text=True)
    assert root.stdout.strip() == ".." and root.stderr is None
    assert capfd.readouterr() == ("", "")


def test_a_failure_is_that_of_a_process_of_its_own(forked, tmp_path):
    options = {"cwd": tmp_path, "capture_output": True, "text": True}
    ended, expected = (run([*COMMAND, "status"], **options) for run in (forked, subprocess.run.__wrapped__))
    assert expected.returncode and vars(ended) == vars(expected)
    with pytest.raises(subprocess.CalledProcessError):
        forked([*COMMAND, "status"], **options, check=True)


def test_it_has_the_environment_it_is_given(forked, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config").write_text("[core]\n    remote = given\n")
    found = forked(
        [*COMMAND, "config", "--global", "core.remote"],
        cwd=tmp_path, env={"DVC_GLOBAL_CONFIG_DIR": str(tmp_path / "config")}, capture_output=True,
    )  # fmt: skip
    assert found.stdout == b"given\n", found.stderr


def test_every_other_command_is_started_as_before():
    assert forking(lambda command, **_: command)(["git", "status"], text=True) == ["git", "status"]
    assert forking(lambda command, **_: command)([*COMMAND, "status"], timeout=1) == [*COMMAND, "status"]
