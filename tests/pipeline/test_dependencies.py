"""Every stage of dvc.yaml lists the folders of the code that it runs: DVC does not follow imports, so a test does."""

from pathlib import Path

import pytest

from falcon_dvc.params.load import read_yaml
from tests.support.code_deps import closure, folders_of
from tests.support.paths import ROOT

STAGES = read_yaml(ROOT / "dvc.yaml")["stages"]
CHECKED = {
    "check_params": ["falcon_dvc/params"]
}  # what this stage writes depends on the schema, unlike that of all others
MOST = 11  # code dependencies of a stage that a reader can take in


def definition(name):
    return STAGES[name].get("do", STAGES[name])


@pytest.mark.parametrize("name", STAGES)
def test_deps_are_the_import_closure(name):
    module = definition(name)["cmd"].split()[3]
    assert module == name, "the stage, its command and its module have one name"
    listed = [dep for dep in definition(name)["deps"] if dep.startswith(("falcon_dvc", "stages"))]
    assert sorted(listed) == sorted(folders_of(closure(ROOT / "stages" / f"{name}.py")) + CHECKED.get(name, []))
    assert len(listed) <= MOST + 1, "its own module, and the folders"


def test_stages_are_the_modules_of_their_folder():
    modules = {path.stem for path in (ROOT / "stages").glob("*.py")}
    assert modules - {"__init__", "__main__"} == set(STAGES)


@pytest.mark.parametrize("name", STAGES)
def test_stage_says_what_it_does(name):
    assert len(definition(name)["desc"]) > 20


def test_dvc_yaml_can_be_read_in_one_go():
    assert len((ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()) <= 450


def written(root, **texts):
    for name, text in texts.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for folder in path.parents:
            if folder in (root, root.parent):
                break
            (folder / "__init__.py").touch()


def test_closure_sees_imports_inside_functions(tmp_path):
    only_typing = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import stages.c\n"
    written(tmp_path, stages__a="def f():\n    from stages import b\n", stages__b=only_typing, stages__c="")
    assert closure(tmp_path / "stages/a.py", root=tmp_path) == {Path("stages/a.py"), Path("stages/b.py")}


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
