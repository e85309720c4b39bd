"""What DVC reads of params.yaml."""

from pathlib import Path

from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo


def missing_params(folder: Path) -> set[str]:
    """The params that a stage of the folder's ``dvc.yaml`` depends on, and that its params.yaml lacks: DVC refuses to run it."""
    with Repo(str(folder)) as repo:
        read = [dep for stage in repo.index.stages for dep in stage.deps if isinstance(dep, ParamsDependency)]
        return {name for dep in read for name in set(dep.params) - set(dep.read_params())}
