"""The executor that params.yaml asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from falcon_dvc.compute.executor import Executor, Local

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params


@contextmanager
def executor_of(params: Params, stage: str) -> Iterator[Executor]:
    """The executor that params.yaml asks for.

    Parameters
    ----------
    stage : name of the stage, for errors.

    Raises
    ------
    UserError
        If there is no Ray, or no cluster at the address.
    """
    if params.executor == "local":
        yield Local(stage)
        return
    from falcon_dvc.compute.ray_cluster import cluster

    with cluster(params.ray, stage) as found:
        yield found
