"""Files that DVC and git share, with conflict markers or cut off: one line that names the file and the fix."""

import shutil
from types import SimpleNamespace

import pytest

from falcon_dvc.cli import changes, compare, verify
from falcon_dvc.cli.app import check
from falcon_dvc.cli.pipeline import require_readable
from falcon_dvc.errors import UserError
from falcon_dvc.params.load import load_params
from tests.support.dvc_projects import commit
from tests.support.outcomes import assert_refused

LOCK = r"^dvc\.lock: merge conflict; git checkout --theirs dvc\.lock, then dvc repro$"
TOLERANCE = SimpleNamespace(verify=SimpleNamespace(metrics=0.05, concepts=0.9))


def conflicting(text, line=2):
    """A text in which a merge left two sides of some lines."""
    lines = text.splitlines(keepends=True)
    sides = ["<<<<<<< HEAD\n", *lines[line : line + 2], "=======\n", *lines[line : line + 2], ">>>>>>> other\n"]
    return "".join(lines[:line] + sides + lines[line + 2 :])


@pytest.fixture
def project(dvc_project, tmp_path, monkeypatch):
    folder = shutil.copytree(dvc_project, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def spoil(file, spoiled=conflicting):
    file.write_text(spoiled(file.read_text()))


COMMANDS = {
    "compare": lambda: compare.run("HEAD", "workspace"),
    "verify": lambda: verify.run(TOLERANCE),
    "changes": lambda: changes.run("HEAD"),
    "check": check,
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_conflict_in_the_lock_is_told_by_every_command(name, project):
    spoil(project / "dvc.lock")
    assert_refused(LOCK, COMMANDS[name])


LOCKS = {
    "conflict": (conflicting, LOCK),
    "three sides": (lambda text: f"{text}||||||| base\n", LOCK),
    "line ends of Windows": (lambda text: conflicting(text).replace("\n", "\r\n"), LOCK),
    "empty": (lambda _: "", r"^dvc\.lock: empty or cut off; git checkout HEAD dvc\.lock, then dvc repro"),
    "cut in a line": (lambda text: text[: text.index("path: data") + 3], "cut off in stage double; git checkout HEAD"),
    "cut in a text": (lambda text: text[:9], r"^dvc\.lock: not valid YAML.*; git checkout HEAD dvc\.lock, then dvc"),
    "cut in a stage": (lambda text: text[: text.index("    deps")].replace("cmd", "desc"), "cut off in stage double"),
    "a list": (lambda _: "- 1\n", r"^dvc\.lock: no schema|^dvc\.lock: empty"),
    "of DVC 1": (
        lambda text: "".join(line[2:] for line in text.splitlines(True)[2:]),
        r"^dvc\.lock: no schema, but DVC 3 reads schema 2\.0; delete it, then dvc repro runs all stages",
    ),
    "of another schema": (lambda text: text.replace("2.0", "1.0"), r"^dvc\.lock: schema 1\.0, but DVC 3"),
}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_that_dvc_cannot_read_is_told_with_its_fix(name, project):
    spoiled, words = LOCKS[name]
    spoil(project / "dvc.lock", spoiled)
    assert_refused(words, require_readable)


def test_good_files_pass_and_absent_ones_too(project, tmp_path, monkeypatch):
    require_readable()
    monkeypatch.chdir(tmp_path)
    require_readable()


@pytest.mark.parametrize(
    ("file", "command", "words"),
    [
        ("dvc.yaml", "compare", r"^dvc\.yaml: merge conflict; keep one side of each part"),
        ("params.yaml", "compare", r"^params\.yaml at workspace: merge conflict; "),
        ("reports/metrics/double.json", "verify", r"^reports/metrics/double\.json: merge conflict; run `dvc repro`"),
        ("reports/metrics/double.json", "compare", r"^reports/metrics/double\.json at workspace: merge conflict"),
    ],
)
def test_a_conflict_in_another_file_is_told(file, command, words, project):
    spoil(project / file, lambda text: conflicting(text, 0))
    assert_refused(words, COMMANDS[command])


def test_a_cut_metric_is_told(project):
    spoil(project / "reports/metrics/double.json", lambda text: text[:5])
    assert_refused(r"^reports/metrics/double\.json: not JSON .*run `dvc repro`", COMMANDS["verify"])


def test_a_committed_conflict_is_told(project):
    spoil(project / "dvc.lock")
    commit(project, "a merge")
    (project / "dvc.lock").unlink()
    assert_refused(r"^dvc\.lock of the last commit: merge conflict", COMMANDS["verify"])
    assert_refused(r"^HEAD: DVC cannot read its dvc\.yaml or dvc\.lock .*compare another", COMMANDS["compare"])


def test_a_conflict_in_params_is_told(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text(conflicting("a: 1\nb: 2\nc: 3\nd: 4\n"))
    with pytest.raises(UserError, match=r"params\.yaml: merge conflict; keep one side of each part between <<<<<<<"):
        load_params(file)
