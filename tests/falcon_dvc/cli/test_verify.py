"""Regenerated results against the committed ones."""

import subprocess
from types import SimpleNamespace

import pandas as pd
import pytest

from falcon_dvc.cli import verify
from falcon_dvc.errors import UserError
from tests.support.dvc_projects import commit


def test_numbers_within_tolerance_pass():
    assert (
        verify.compare_metrics("m.json", {"a": {"share": 0.50}, "n": 1000}, {"a": {"share": 0.54}, "n": 1040}, 0.05)
        == []
    )


def test_numbers_beyond_tolerance_are_named():
    lines = verify.compare_metrics("m.json", {"a": {"share": 0.50}, "n": 1000}, {"a": {"share": 0.56}, "n": 1000}, 0.05)
    assert len(lines) == 1 and "m.json: a.share: committed 0.5, regenerated 0.56" in lines[0]


def test_beside_an_interval_half_its_width_is_tolerated():
    committed = {"texture": {"top1": 0.625, "interval_low": 0.25, "interval_high": 0.875}, "all": {"top1": 0.87}}
    assert (
        verify.compare_metrics(
            "m.json", committed, {**committed, "texture": {**committed["texture"], "top1": 0.5}}, 0.05
        )
        == []
    )
    assert verify.compare_metrics(
        "m.json", committed, {**committed, "texture": {**committed["texture"], "top1": 0.2}}, 0.05
    )
    assert verify.compare_metrics("m.json", committed, {**committed, "all": {"top1": 0.745}}, 0.05)


def test_keys_that_came_or_went_are_named():
    lines = verify.compare_metrics("m.json", {"old": 1}, {"new": 1}, 0.05)
    assert [line.split(": ")[1] for line in lines] == ["new", "old"]


def test_tables_are_joined_by_group_not_by_row():
    table = pd.DataFrame({"group": ["f1", "f2"], "words": ["cat:0.9; dog:0.1", "sky:0.5"]})
    assert verify.compare_tables("t.csv", table, table.iloc[::-1], 0.9) == []
    other = table.assign(words=["dog:0.9", "sky:0.7"])
    assert "only 50%" in verify.compare_tables("t.csv", table, other, 0.9)[0]


def test_rows_of_a_group_are_compared_in_their_order():
    table = pd.DataFrame({"group": ["f0", "f0", "f1", "f1"], "words": ["cat; dog", "sky", "sea", ""]})
    assert verify.compare_tables("t.csv", table, table.copy(), 1.0) == []
    assert (
        "only 75%" in verify.compare_tables("t.csv", table, table.assign(words=["cat; sky", "sky", "sea", ""]), 0.9)[0]
    )
    swapped = table.assign(words=["sky", "cat; dog", "sea", ""])
    assert "only 50% of the rows" in verify.compare_tables("t.csv", table, swapped, 0.9)[0]
    assert "only 75%" in verify.compare_tables("t.csv", table, table.iloc[[0, 2, 3]], 0.9)[0]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports/metrics").mkdir(parents=True)
    (tmp_path / "reports/metrics/a.json").write_text('{"share": 0.5}')
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "results"]):
        subprocess.run([*git, *arguments], check=True)
    return tmp_path


def test_against_the_last_commit(checkout):
    params = SimpleNamespace(verify=SimpleNamespace(metrics=0.05, concepts=0.9))
    assert verify.run(params) == []
    (checkout / "reports/metrics/a.json").write_text('{"share": 0.9}')
    assert "reports/metrics/a.json: share" in verify.run(params)[0]
    (checkout / "reports/metrics/a.json").unlink()
    assert "not regenerated" in verify.run(params)[0]


def test_nothing_committed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="git"):
        verify.run(SimpleNamespace())


# ---- The lock


@pytest.fixture
def project(dvc_project, tmp_path, monkeypatch):
    """A clone of it: what a continuous integration starts from, without any output that is not in git."""
    subprocess.run(["git", "clone", "-q", str(dvc_project), str(tmp_path / "clone")], check=True)
    monkeypatch.chdir(tmp_path / "clone")
    return tmp_path / "clone"


def test_a_fresh_lock_passes_though_its_outputs_are_missing(project):
    assert not (project / "data/numbers.txt").exists()
    assert verify.stale_locks() == []


def test_a_lock_of_other_code_params_or_commands_is_stale(project):
    changes = (
        ("count.py", "import", "import sys, "),
        ("params.yaml", "2", "3"),
        ("dvc.yaml", "count.py\n", "count.py --fast\n"),
    )
    for file, old, new in changes:
        (project / file).write_text((project / file).read_text().replace(old, new, 1))
    assert verify.stale_locks() == []  # nothing is committed yet
    commit(project, "change")
    count, double = sorted(verify.stale_locks())
    assert "count was not run since a change of count.py, its command; " in count and "commit dvc.lock" in count
    assert "double was not run since a change of factor; " in double and "commit dvc.lock" in double


def test_a_lock_that_was_never_committed_is_stale(project):
    (project / "dvc.lock").unlink()
    commit(project, "forgotten")
    assert len(verify.stale_locks()) == 2


def test_without_a_pipeline_there_is_no_lock(checkout):
    assert verify.stale_locks() == []


def test_only_what_git_holds_is_an_input():
    status = {
        "a": [{"changed deps": {"data": "modified", "gone.py": "deleted"}}, {"changed outs": {"x": "deleted"}}],
        "b": [{"changed deps": {"b.py": "modified", "params.yaml": {"b.k": "modified"}}}, "changed command"],
    }
    (line,) = verify._changed_inputs(status, lambda path: path.endswith(".py"))
    assert line.startswith("dvc.lock: b was not run since a change of b.py, b.k, its command; ")


def test_a_lock_of_two_halves_is_torn():
    lock = {
        "first": {"outs": [{"path": "data", "md5": "1.dir"}]},
        "second": {"deps": [{"path": "data", "md5": "1.dir"}, {"path": "second.py", "md5": "7"}]},
    }
    assert list(verify._inconsistent(lock)) == []
    lock["second"]["deps"][0]["md5"] = "2.dir"
    (line,) = verify._inconsistent(lock)
    assert "second was run on another data than first made" in line
