"""The code that a stage runs, as the folders that ``dvc.yaml`` lists: DVC does not follow imports."""

import ast
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

from tests.support.paths import ROOT

LIBRARY = "falcon_dvc"
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")  # fields of a node that hold statements
# Speed, messages, names of files, the schema of the params: what a stage computes depends on none (DVC tracks the params' values).
WITHOUT_EFFECT = ("allocator.py", "errors.py", "placeholders.py", "paths.py", "progress.py", "params", "__init__.py")


def closure(path: Path, packages: tuple[str, ...] = (LIBRARY, "stages"), root: Path = ROOT) -> set[Path]:
    """The file and every module of the packages that it reaches by imports, relative to the root."""
    found, waiting = {path}, [path]
    while waiting:
        module = waiting.pop()
        new = set() if _without_effect(module.relative_to(root)) else _imported(module, packages, root) - found
        found |= new
        waiting += new
    return {file.relative_to(root) for file in found}


def _imported(path: Path, packages: tuple[str, ...], root: Path) -> set[Path]:
    """Modules of the packages that a file imports at run time, inside functions too."""
    own = (name for name in _names(path) if name.split(".")[0] in packages)
    files = ((root / f"{name.replace('.', '/')}.py") for name in own)
    return {file for file in files if file.exists()}


@cache
def _names(path: Path) -> set[str]:
    """Names of the modules that a file imports, and of what it imports from them."""
    names = set()
    for node in _nodes_at_run_time(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _nodes_at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements within a node; no expression holds one."""
    for child in chain.from_iterable(getattr(node, block, ()) for block in BLOCKS):
        if not (isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING"):
            yield child
            yield from _nodes_at_run_time(child)


def folders_of(modules: set[Path], root: Path = ROOT) -> list[str]:
    """The folders that hold the modules: a folder without sub-packages as a whole, a parent in place of all its parts.

    A module beside packages stands for itself. What has no effect on results is left out.
    """
    units = {_unit(module, root) for module in modules if not _without_effect(module)}
    for parent in sorted({folder for unit in units for folder in unit.parents}, key=lambda path: -len(path.parts)):
        parts = _parts(parent, root) if len(parent.parts) > 1 else set()
        if parts and parts <= units:
            units = units - parts | {parent}
    return sorted(map(str, units))


def summed_up(deps: list[str], most: int) -> list[str]:
    """The same in fewer entries: a package in place of more than two of its modules, the library in place of too many folders."""
    for package in ("stages", "worlds"):
        modules = [dep for dep in deps if dep.startswith(f"{package}/")]
        deps = [dep for dep in deps if dep not in modules] + [package] if len(modules) > 2 else deps
    own = [dep for dep in deps if not dep.startswith(LIBRARY)]
    return sorted(deps if len(deps) <= most else [*own, LIBRARY])


def _without_effect(module: Path) -> bool:
    return module.parts[0] == LIBRARY and (module.parts[1] in WITHOUT_EFFECT or module.name == "__init__.py")


def _unit(module: Path, root: Path) -> Path:
    return module if len(module.parts) < 3 or _packages(module.parent, root) else module.parent


def _packages(folder: Path, root: Path) -> set[Path]:
    return {file.parent.relative_to(root) for file in (root / folder).glob("*/__init__.py")}


def _parts(parent: Path, root: Path) -> set[Path]:
    """What a parent of packages consists of."""
    packages = _packages(parent, root)
    modules = {file.relative_to(root) for file in (root / parent).glob("*.py") if file.name != "__init__.py"}
    return packages | modules if packages else set()
