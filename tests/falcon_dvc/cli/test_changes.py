"""The comment on a pull request: what differs from the base is in it, what cannot be compared is said, nothing makes it fail."""

import json
import shutil
from pathlib import Path

import pytest

from falcon_dvc.cli import changes
from falcon_dvc.errors import UserError
from tests.support.dvc_projects import commit, dvc


@pytest.fixture(scope="module")
def changed(tmp_path_factory, dvc_project):
    """A project in whose working tree another param has been run."""
    folder = shutil.copytree(dvc_project, tmp_path_factory.mktemp("project") / "changed", symlinks=True)
    (folder / "params.yaml").write_text("factor: 3\n")
    dvc(folder, "repro", "-q")
    return folder


@pytest.fixture
def comparison(monkeypatch):
    """Calls of the comparison, whose Markdown has a heading and a block of code."""
    calls = []

    def stub(*arguments):
        calls.append(arguments)
        return "# Comparison\n\n```\n# no heading\n```\n"

    monkeypatch.setattr(changes.compare, "run", stub)
    return calls


def test_the_comment_shows_metrics_plots_and_the_comparison(changed, comparison, monkeypatch):
    monkeypatch.chdir(changed)
    comment = changes.run("HEAD", Path("out"))
    text = comment.read_text()
    assert "| `reports/metrics/double.json` | `share` | 0.2 | 0.3 | 0.1 |" in text and "1 numbers differ" in text
    assert "![reports/plots/double.csv](double.png)" in text and "0 of 1 plots do not differ" in text
    assert (changed / "out/double.png").read_bytes().startswith(b"\x89PNG")
    assert comparison == [("HEAD", "workspace", Path("out/comparison.html"))]
    assert "### Comparison\n" in text and "\n# no heading\n" in text


def test_a_base_without_results_is_said(changed, tmp_path, monkeypatch):
    folder = tmp_path / "bare"
    shutil.copytree(changed, folder)
    monkeypatch.chdir(folder)
    shutil.rmtree(folder / "reports")
    for name in ("dvc.yaml", "dvc.lock"):
        (folder / name).unlink()
    commit(folder, "no pipeline")
    text = changes.run("HEAD", Path("out")).read_text()
    assert "No headline number differs" in text and "0 of 0 plots" in text
    assert "Not compared: HEAD has no reports/metrics/*.json" in text


def test_an_unknown_base_is_an_error_of_one_line(changed, monkeypatch):
    monkeypatch.chdir(changed)
    with pytest.raises(UserError, match="'nosuch' is no revision"):
        changes.run("nosuch", Path("never"))
    assert not (changed / "never").exists()


def test_names_of_metrics_are_letters_and_nothing_else(changed, monkeypatch):
    """Metrics of a classifier are named by its classes, and those by a stranger."""
    metrics = {"a.json": {"repair.<img src=x>`|\n@all ![a](b)": {"old": None, "new": 1}}}
    monkeypatch.setattr(changes, "_dvc", lambda *arguments: json.dumps(metrics))
    text = changes._headline("HEAD", changed)
    assert text.splitlines()[-1] == r"| `a.json` | `repair.<img src=x>'\| @all ![a](b)` | – | 1 | – |"


def test_rows_of_one_revision_only_are_a_difference():
    def content(*rows):
        return {"data": {"values": list(rows)}}

    old, new = {"x": 1, "rev": "HEAD"}, {"x": 1, "rev": "workspace"}
    assert not changes._differs(content(old, new))
    assert changes._differs(content(old)) and changes._differs(content(old, {**new, "x": 2}))


def test_a_long_part_is_cut_at_a_line():
    text = "line\n" * changes.LONGEST
    assert len(changes._cut(text)) < changes.LONGEST + 100 and "cut here" in changes._cut(text)
    assert changes._cut("short\n") == "short\n"
