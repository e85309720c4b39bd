"""What the workflow runs is what anyone can run: make targets. The cheap ones are run here, the others are tested by name."""

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.support.paths import ROOT

WORKFLOW = YAML(typ="safe", pure=True).load((ROOT / ".github/workflows/reports.yml").read_text(encoding="utf-8"))
JOB = WORKFLOW["jobs"]["reports"]
STEPS = JOB["steps"]
RUN = [step["run"] for step in STEPS if "run" in step]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def _step(action):
    return next(step for step in STEPS if step.get("uses", "").startswith(action))


def recipe(target):
    """What `make TARGET` would run, one command a line."""
    # Under `make test`, make would say where it goes.
    asked = ["make", "-n", "--no-print-directory", "-o", ".venv/.installed-requirements.txt", target, "BASE=abc"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("command", RUN)
def test_every_step_is_a_make_target(command):
    target = re.fullmatch(r"make ([a-z]+)", command)
    assert target and re.search(rf"^{target[1]}:", MAKEFILE, re.MULTILINE)


def test_the_audit_is_a_job_of_its_own_with_the_least_rights():
    job = WORKFLOW["jobs"]["audit"]
    assert (
        "permissions" not in job
        and "env" not in job
        and [some["run"] for some in job["steps"] if "run" in some] == ["make audit"]
    )
    assert all(re.search(r"@v\d+(\.\d+)*$", step["uses"]) for step in job["steps"] if "uses" in step)
    assert job["steps"][0]["with"]["persist-credentials"] is False
    audited = recipe("audit").splitlines()[-1]
    assert "--strict" in audited and all(f"-r {path.name}" in audited for path in ROOT.glob("requirements*.txt"))


def test_the_order_of_the_steps_is_that_of_make_ci():
    rule = MAKEFILE.split("\nci:")[1].split("\n\n")[0]
    local = re.findall(r"\$\(MAKE\) ([a-z]+)", rule)
    assert [command.removeprefix("make ") for command in RUN] == ["install", *local, "comment"]


def test_verify_regenerates_before_it_compares():
    assert recipe("verify").index("dvc --wait-for-lock repro") < recipe("verify").index("falcon verify")
    assert 'falcon changes "abc"' in recipe("changes")


def test_what_a_newcomer_runs_stays():
    assert re.findall(r"^make .*", (ROOT / ".ci/run").read_text(), re.MULTILINE) == [
        "make test",
        "make repro",
        "make verify",
    ]


def test_actions_are_pinned_and_rights_are_the_least():
    assert all(re.search(r"@v\d+(\.\d+)*$", step["uses"]) for step in STEPS if "uses" in step)
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert JOB["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert JOB["runs-on"] == "ubuntu-latest" and _step("actions/setup-python")["with"]["python-version"] == "3.11"
    assert _step("actions/checkout")["with"]["persist-credentials"] is False


def test_forks_get_no_secret():
    text = (ROOT / ".github/workflows/reports.yml").read_text(encoding="utf-8")
    assert "secrets." not in text and "pull_request_target" not in text
    for step in STEPS:
        if "env" in step or "setup-cml" in step.get("uses", ""):
            assert "head.repo.full_name == github.repository" in step["if"]


def test_no_text_of_a_stranger_is_part_of_a_command():
    assert not any("${{" in command for command in RUN)


def test_the_cache_is_that_of_the_lock():
    cache = _step("actions/cache")["with"]
    assert cache["path"] == ".dvc/cache" and "hashFiles('dvc.lock')" in cache["key"]
    assert cache["key"].startswith(cache["restore-keys"])


def test_changes_are_shown_though_results_are_stale():
    later = [
        step
        for step in STEPS
        if step.get("run") in ("make changes", "make comment") or "upload" in step.get("uses", "")
    ]
    assert len(later) == 3 and all("!cancelled()" in step["if"] for step in later)


# ---- The comment, with a CML that only says what it was asked


@pytest.fixture
def folder(tmp_path):
    """A project with a comment that `make changes` wrote, and `cml` on the PATH."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci/comment").write_bytes((ROOT / ".ci/comment").read_bytes())
    (tmp_path / ".ci/comment").chmod(0o755)
    (tmp_path / "reports/changes").mkdir(parents=True)
    (tmp_path / "reports/changes/comment.md").write_text("## Results\n")
    (tmp_path / "bin").mkdir()
    cml = tmp_path / "bin/cml"
    cml.write_text('#!/bin/sh\necho "$PWD: $@"\ncat "$3"\n')
    cml.chmod(cml.stat().st_mode | stat.S_IXUSR)
    return tmp_path


def post(folder, **env):
    env = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", **env}
    return subprocess.run([folder / ".ci/comment"], env=env, capture_output=True, text=True)


def test_the_comment_is_posted_from_its_folder_where_the_pictures_are(folder):
    done = post(folder, PAGES_URL="https://example.com/1")
    assert done.returncode == 0
    first, *rest = done.stdout.splitlines()
    assert Path(first.split(":")[0]).name == "changes" and first.endswith(": comment create posted.md")
    assert rest[0] == "## Results" and rest[-1].endswith("(https://example.com/1)")
    assert (folder / "reports/changes/comment.md").read_text() == "## Results\n"


def test_nothing_is_posted_without_a_comment(folder):
    (folder / "reports/changes/comment.md").unlink()
    done = post(folder)
    assert done.returncode and "cml" not in done.stdout and "comment create" not in done.stdout
