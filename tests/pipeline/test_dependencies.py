"""Every stage of dvc.yaml depends on the fingerprint of the code that it imports."""

from pathlib import Path

import pytest

from falcon_dvc.imports import closure
from falcon_dvc.params.load import read_yaml
from tests.support.code_deps import folders_of
from tests.support.modules import written
from tests.support.paths import ROOT

STAGES = read_yaml(ROOT / "dvc.yaml")["stages"]
BEFORE = {"check_params", "fingerprint_code"}  # their deps are the code itself


def definition(name):
    return STAGES[name].get("do", STAGES[name])


@pytest.mark.parametrize("name", STAGES)
def test_stage_depends_on_its_fingerprint(name):
    assert definition(name)["cmd"].split()[3] == name, "the stage, its command and its module have one name"
    code = [dep for dep in definition(name)["deps"] if dep.startswith(("falcon_dvc", "stages", "data/code"))]
    assert code == [f"data/code/{name}.txt"] or name in BEFORE


def test_code_of_the_stages_without_a_fingerprint():
    checked = [*folders_of(closure(ROOT / "stages/check_params.py", ROOT)), "falcon_dvc/params"]
    assert sorted(checked) == sorted(set(definition("check_params")["deps"]) - {"params.yaml"})
    assert {"stages", "falcon_dvc"} <= set(definition("fingerprint_code")["deps"])


def test_stages_are_the_modules_of_their_folder():
    modules = {path.stem for path in (ROOT / "stages").glob("*.py")}
    assert modules - {"__init__", "__main__"} == set(STAGES)


@pytest.mark.parametrize("name", STAGES)
def test_stage_says_what_it_does(name):
    assert len(definition(name)["desc"]) > 20


def test_dvc_yaml_can_be_read_in_one_go():
    assert len((ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()) <= 450


def test_a_parent_stands_for_all_its_parts(tmp_path):
    names = ("falcon_dvc__x__one__a", "falcon_dvc__x__one__b", "falcon_dvc__x__two__c", "falcon_dvc__x__d")
    written(tmp_path, **dict.fromkeys((*names, "falcon_dvc__paths", "falcon_dvc__top", "stages__s"), ""))
    a, c, d, s = (Path(f"falcon_dvc/x/{name}.py") for name in ("one/a", "two/c", "d", "one/../../../stages/s"))
    s, paths, top = Path("stages/s.py"), Path("falcon_dvc/paths.py"), Path("falcon_dvc/top.py")
    assert folders_of({s, paths, top, a, d}, tmp_path) == [
        "falcon_dvc/top.py",
        "falcon_dvc/x/d.py",
        "falcon_dvc/x/one",
        "stages/s.py",
    ]
    assert folders_of({s, a, c, d}, tmp_path) == ["falcon_dvc/x", "stages/s.py"]
