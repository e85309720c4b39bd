"""Find the code that a module runs, as DVC does not follow imports: the modules that it reaches, and the files beside them."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

LIBRARY, PACKAGES = "falcon_dvc", ("falcon_dvc", "stages")
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")  # fields of a node that hold statements
# Speed, messages, names of files, the schema of the params: what a stage computes depends on none (DVC tracks the params' values).
WITHOUT_EFFECT = (
    "allocator.py",
    "errors.py",
    "imports.py",
    "placeholders.py",
    "paths.py",
    "progress.py",
    "params",
    "warm.py",
    "__init__.py",
)


def closure(path: Path, root: Path, packages: tuple[str, ...] = PACKAGES) -> set[Path]:
    """Find a file and every module of the packages that it reaches by imports, relative to the root.

    Modules without effect on results are found, but not followed.
    """
    found, waiting = {path}, [path]
    while waiting:
        module = waiting.pop()
        new = set() if without_effect(module.relative_to(root)) else _imported(module, packages, root) - found
        found |= new
        waiting += new
    return {file.relative_to(root) for file in found}


def without_effect(module: Path) -> bool:
    """Whether no result depends on a module of the library; its path is relative to the root."""
    return module.parts[0] == LIBRARY and (module.parts[1] in WITHOUT_EFFECT or module.name == "__init__.py")


def code_of(path: Path, root: Path) -> list[Path]:
    """List the files that decide what a stage computes: its modules, and other files of their packages, such as templates."""
    modules = {module for module in closure(path, root) if not without_effect(module)}
    folders = {module.parent for module in modules if len(module.parts) > 2}
    beside = {file.relative_to(root) for folder in folders for file in _other_files(root / folder)}
    return sorted(modules | beside)


def fingerprints(path: Path, root: Path) -> str:
    """Write the SHA-256 and the name of every file that decides what a stage computes, a line for each."""
    lines = (
        f"{hashlib.sha256((root / file).read_bytes()).hexdigest()}  {file.as_posix()}" for file in code_of(path, root)
    )
    return "\n".join(lines) + "\n"


def _other_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a package that are not Python's, and those of its folders that are no packages."""
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "__pycache__" and not (entry / "__init__.py").exists():
            yield from (file for file in entry.rglob("*") if file.is_file())
        elif entry.is_file() and entry.suffix != ".py":
            yield entry


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
