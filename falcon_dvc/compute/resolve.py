"""Open the executor that params.yaml names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from falcon_dvc.compute.executor import Executor, Local

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params


@contextmanager
def executor_of(params: Params, stage: str) -> Iterator[Executor]:
    """Open the executor that params.yaml names.

    Parameters
    ----------
    params : Params
        All of params.yaml.
    stage : str
        Name of the stage, for error messages.

    Raises
    ------
    UserError
        If Ray is not installed, or there is no cluster at the address.
    """
    if params.executor == "local":
        yield Local(stage)
        return
    from falcon_dvc.compute.ray_cluster import cluster

    with cluster(params.ray, stage) as executor:
        yield executor
