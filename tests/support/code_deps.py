"""The code that a stage of the studies runs, as the folders that ``studies/dvc.yaml`` lists: DVC does not follow imports."""

from pathlib import Path

from falcon_dvc.imports import LIBRARY, without_effect
from tests.support.paths import ROOT


def folders_of(modules: set[Path], root: Path = ROOT) -> list[str]:
    """The folders that hold the modules: a folder without sub-packages as a whole, a parent in place of all its parts.

    A module beside packages stands for itself. What has no effect on results is left out.
    """
    units = {_unit(module, root) for module in modules if not without_effect(module)}
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


def _unit(module: Path, root: Path) -> Path:
    return module if len(module.parts) < 3 or _packages(module.parent, root) else module.parent


def _packages(folder: Path, root: Path) -> set[Path]:
    return {file.parent.relative_to(root) for file in (root / folder).glob("*/__init__.py")}


def _parts(parent: Path, root: Path) -> set[Path]:
    """What a parent of packages consists of."""
    packages = _packages(parent, root)
    modules = {file.relative_to(root) for file in (root / parent).glob("*.py") if file.name != "__init__.py"}
    return packages | modules if packages else set()
