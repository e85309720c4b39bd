"""The code of a stage: the modules that it reaches by imports, and the files beside them."""

from pathlib import Path

import pytest

from falcon_dvc.imports import closure, code_of, fingerprints
from falcon_dvc.params.load import read_yaml
from stages import fingerprint_code
from tests.support.modules import written
from tests.support.paths import ROOT


def test_closure_sees_imports_inside_functions(tmp_path):
    only_typing = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import stages.c\n"
    written(tmp_path, stages__a="def f():\n    from stages import b\n", stages__b=only_typing, stages__c="")
    assert closure(tmp_path / "stages/a.py", tmp_path) == {Path("stages/a.py"), Path("stages/b.py")}


@pytest.fixture
def project(tmp_path):
    stage = "from falcon_dvc import paths\nfrom falcon_dvc.x.one import a\n"
    written(tmp_path, stages__s=stage, falcon_dvc__paths="", falcon_dvc__x__one__a="", falcon_dvc__x__one__b="")
    written(tmp_path, falcon_dvc__x__two__c="")
    for file in ("falcon_dvc/x/one/templates/page.html", "falcon_dvc/x/two/other.txt", "falcon_dvc/note.txt"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("")
    return tmp_path


def test_templates_beside_a_module_are_code_and_messages_and_paths_are_not(project):
    expected = ["falcon_dvc/x/one/a.py", "falcon_dvc/x/one/templates/page.html", "stages/s.py"]
    assert [file.as_posix() for file in code_of(project / "stages/s.py", project)] == expected


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("falcon_dvc/x/one/a.py", True),
        ("falcon_dvc/x/one/templates/page.html", True),
        ("falcon_dvc/x/one/b.py", False),
        ("falcon_dvc/x/two/c.py", False),
        ("falcon_dvc/paths.py", False),
    ],
)
def test_a_fingerprint_changes_with_the_code(project, file, changes):
    before = fingerprints(project / "stages/s.py", project)
    (project / file).write_text("value = 1\n")
    assert (fingerprints(project / "stages/s.py", project) != before) == changes


def test_every_stage_has_a_fingerprint_with_its_own_module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/code").mkdir(parents=True)
    (tmp_path / "data/code/gone.txt").write_text("of a stage that was removed")
    fingerprint_code.run(None)
    written_files = {path.stem: path.read_text() for path in (tmp_path / "data/code").iterdir()}
    assert set(written_files) == set(read_yaml(ROOT / "dvc.yaml")["stages"])
    assert all(f"  stages/{name}.py\n" in text for name, text in written_files.items())
    assert "falcon_dvc/report/templates/feature.html.j2" in written_files["report"]
