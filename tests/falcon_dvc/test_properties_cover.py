"""Every public function of the mathematics has a property: one that no `@given` test uses is named here."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
PURE = next(contract["source_modules"] for contract in CONTRACTS if contract["id"] == "pure")
TESTS = [path for path in Path(__file__).parent.rglob("test_*.py") if path != Path(__file__)]


def sources() -> dict[str, str]:
    """The modules that import neither files nor params, by their last names."""
    files = (ROOT / f"{name.replace('.', '/')}.py" for name in PURE)
    modules = [path for file in files for path in ([file] if file.is_file() else file.with_suffix("").glob("*.py"))]
    return {path.stem: path.read_text(encoding="utf-8") for path in modules if path.stem != "__init__"}


def functions(body: ast.Module | ast.ClassDef) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in body.body if isinstance(node, ast.FunctionDef)}


def public(name: str, source: str) -> set[str]:
    """Functions of a module and methods of its classes, as `module.function` and `module.Class.method`; a protocol computes nothing."""
    module = ast.parse(source)
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    computing = [some for some in classes if "Protocol" not in map(ast.unparse, some.bases) and some.name[0] != "_"]
    own = {f"{name}.{function}" for function in functions(module)}
    own |= {f"{name}.{some.name}.{method}" for some in computing for method in functions(some)}
    return {one for one in own if not one.rpartition(".")[2].startswith("_")}


def imported(module: ast.Module) -> dict[str, str]:
    """What each name of a test module stands for: `module.function` of the library, or `module` alone."""
    return {
        alias.asname or alias.name: alias.name
        if _is_package(node.module)
        else f"{node.module.rpartition('.')[2]}.{alias.name}"
        for node in module.body
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("falcon_dvc.")
        for alias in node.names
    }


def _is_package(name: str) -> bool:
    return (ROOT / name.replace(".", "/")).is_dir()


def is_property(test: ast.FunctionDef) -> bool:
    return any(isinstance(mark, ast.Call) and ast.unparse(mark.func) == "given" for mark in test.decorator_list)


def reached(module: ast.Module) -> Iterator[ast.FunctionDef]:
    """The properties of a test module and the helpers of that module that they use, directly or not."""
    helpers = functions(module)
    waiting = [helpers.pop(name) for name, test in list(helpers.items()) if is_property(test)]
    while waiting:
        function = waiting.pop()
        yield function
        names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
        waiting += [helpers.pop(name) for name in names & set(helpers)]


def used(source: str) -> set[str]:
    """What the properties of a test module use of the method; of a method of a class the name alone is known, `.method`."""
    module = ast.parse(source)
    meaning, found = imported(module), set()
    for node in (node for function in reached(module) for node in ast.walk(function)):
        if isinstance(node, ast.Name) and node.id in meaning:
            found.add(meaning[node.id])
        if isinstance(node, ast.Attribute):
            found |= {f".{node.attr}", f"{meaning.get(ast.unparse(node.value))}.{node.attr}"}
    return found


def without_property(modules: dict[str, str], tests: list[str]) -> list[str]:
    """Public functions and methods that no property uses."""
    tested = set().union(*map(used, tests))
    offered = set().union(*(public(name, source) for name, source in modules.items()))
    names = {one: one if one.count(".") == 1 else f".{one.rpartition('.')[2]}" for one in offered}
    return sorted(one for one in offered if names[one] not in tested)


def test_every_public_function_has_a_property():
    modules = sources()
    missing = without_property(modules, [path.read_text(encoding="utf-8") for path in TESTS])
    assert len(modules) > 20
    assert not missing, f"no @given test uses {', '.join(missing)}"


MODULE = """
def mean(values): ...
def _sum(values): ...
class Units:
    def scale(self): ...
    def _level(self): ...
class Rows(Protocol):
    def shape(self): ...
class _Hidden:
    def depth(self): ...
"""


NOTHING_USED = ["units.Units.scale", "units.mean"]


@pytest.mark.parametrize(
    ("test", "missing"),
    [
        ("from falcon_dvc.units import mean\n@given(X)\ndef test(x):\n    mean(x)", ["units.Units.scale"]),
        ("from falcon_dvc import units\n@given(X)\ndef test(x):\n    units.mean(x).scale()", []),
        (
            "from falcon_dvc.units import mean as m\ndef helper(x):\n    m(x)\n@mark\n@given(X)\ndef test(x):\n    helper(x)",
            ["units.Units.scale"],
        ),
        ("from falcon_dvc.units import mean\ndef test(x):\n    mean(x).scale()", NOTHING_USED),
        (
            "from falcon_dvc.units import mean\ndef helper(x):\n    mean(x)\n@given(X)\ndef test(x): ...",
            NOTHING_USED,
        ),
        ("from numpy import mean\n@given(X)\ndef test(x):\n    mean(x)", NOTHING_USED),
        ("from falcon_dvc import units\n@given(X)\ndef test(x):\n    np.mean(x)", NOTHING_USED),
    ],
    ids=["imported", "module", "helper", "no property", "idle helper", "another's", "numpy's"],
)
def test_what_is_used_is_found(test, missing):
    assert without_property({"units": MODULE}, [test]) == missing
