"""Every stage of dvc.yaml lists the code that it runs: DVC does not follow imports, so a test does."""

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
# Words for people and checks of params: they change what is printed, never what is computed.
WITHOUT_EFFECT = {"stages/common/errors.py", "stages/common/progress.py", "stages/common/files.py"}
STAGES = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def imported(path: Path) -> set[Path]:
    """Modules of the project that a file imports at run time, inside functions too."""
    names = set()
    for node in _nodes_at_run_time(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    files = (ROOT / f"{name.replace('.', '/')}.py" for name in names if name.startswith("stages."))
    return {file for file in files if file.exists()}


def _nodes_at_run_time(node: ast.AST):
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING"):
            yield child
            yield from _nodes_at_run_time(child)


def closure(path: Path) -> set[str]:
    """The file and everything of the project that it reaches."""
    found, waiting = {path}, [path]
    while waiting:
        new = imported(waiting.pop()) - found
        found |= new
        waiting += new
    return {str(file.relative_to(ROOT)) for file in found} - WITHOUT_EFFECT


@pytest.mark.parametrize("name", STAGES)
def test_deps_are_the_import_closure(name):
    definition = STAGES[name].get("do", STAGES[name])
    module = definition["cmd"].split()[3]
    assert module == name, "the stage, its command and its module have one name"
    listed = {dep for dep in definition["deps"] if dep.endswith(".py")}
    assert sorted(listed) == sorted(closure(ROOT / "stages" / f"{module}.py"))


@pytest.mark.parametrize("name", STAGES)
def test_stage_says_what_it_does(name):
    assert len(STAGES[name].get("do", STAGES[name])["desc"]) > 20


def test_closure_sees_imports_inside_functions(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "a.py").write_text("def f():\n    from stages import b\n")
    (tmp_path / "stages" / "b.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import stages.c\n"
    )
    (tmp_path / "stages" / "c.py").write_text("")
    assert closure(tmp_path / "stages" / "a.py") == {"stages/a.py", "stages/b.py"}
