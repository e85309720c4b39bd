"""Compute shards on the machines of a Ray cluster."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from falcon_dvc import paths
from falcon_dvc.compute.executor import Task
from falcon_dvc.errors import UserError, one_line

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Ray

T = TypeVar("T")

AHEAD = 3  # shards in progress or finished but not yet yielded, as a multiple of the shards that the cluster computes at once
RETRIES = 3  # of a shard whose node or process died
SECONDS = 15.0  # timeout of the connection, and again of the health check
# Ray reads these on import. No usage statistics are sent, and GPUs are hidden without a warning from shards that take none.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1", "RAY_DEDUP_LOGS": "0"}


@dataclass(frozen=True)
class Failure:
    """Result of a shard that failed, as texts, because not every exception can be pickled.

    Attributes
    ----------
    user_error : UserError or None
        The exception, if it was a `UserError`.
    cause : str
        Type and message of the exception.
    trace : str
        The traceback on the node.
    """

    user_error: UserError | None
    cause: str
    trace: str


class OnNodeError(Exception):
    """The traceback on the node, for ``--debug``."""


class OnRay:
    """The executor of a Ray cluster that this process is connected to.

    Parameters
    ----------
    ray : module
        The package.
    stage : str
        Name of the stage, for error messages.
    cpus : int
        Processor cores of a shard.
    """

    distributed = True

    def __init__(self, ray: Any, stage: str, cpus: int) -> None:
        self._ray, self._stage, self._cpus = ray, stage, cpus

    def map(
        self, function: Callable[..., T], tasks: Iterable[Task], *shared: Any, accelerated: bool = False
    ) -> Iterator[T]:
        """See `falcon_dvc.compute.executor.Executor`."""
        needs = self._needs(accelerated)
        remote = self._ray.remote(on_node).options(max_retries=RETRIES, **needs)
        references = [self._ray.put(argument) for argument in shared]
        in_progress: deque[tuple[str, Any]] = deque()
        tasks = iter(tasks)
        while True:
            for task in islice(tasks, max(AHEAD * self._at_once(needs) - len(in_progress), 0)):
                in_progress.append((task.name, remote.remote(os.getcwd(), function, task.arguments, *references)))
            if not in_progress:
                return
            yield self._result(*in_progress.popleft())

    def _needs(self, accelerated: bool) -> dict[str, int]:
        """Return the resources that a shard takes of a node."""
        needs = {"num_cpus": self._cpus, "num_gpus": 0}
        if accelerated and self._ray.cluster_resources().get("GPU", 0) >= 1:
            needs["num_gpus"] = 1
        if not self._at_once(needs):
            raise UserError(
                f"ray.cpus: no node of the cluster has {self._cpus} processor cores for a shard; lower it, or add nodes"
            )
        return needs

    def _at_once(self, needs: dict[str, int]) -> int:
        """Return the number of shards that the live nodes can compute at the same time."""
        keys = {"CPU": needs["num_cpus"], "GPU": needs["num_gpus"]}
        alive = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return sum(min(int(node.get(key, 0) // need) for key, need in keys.items() if need) for node in alive)

    def _result(self, name: str, reference: Any) -> Any:
        try:
            result = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:  # its process died in every attempt, or did not start
            raise UserError(f"{self._stage}: {name}: {_brief(error)}") from error
        if isinstance(result, Failure):
            raise result.user_error or UserError(f"{self._stage}: {name}: {result.cause}") from OnNodeError(
                result.trace
            )
        return result


def on_node(folder: str, function: Callable[..., T], arguments: tuple, *shared: Any) -> T | Failure:
    """Compute one shard in a process of a node, in the project's folder."""
    try:
        _enter(folder)
        return function(*shared, *arguments)
    except Exception as error:
        user_error = error if isinstance(error, UserError) else None
        return Failure(user_error, f"{type(error).__name__}: {error}", traceback.format_exc())


def _enter(folder: str) -> None:
    """Change to the project's folder, so that relative paths and the user's modules resolve as in the driver."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise UserError(
            f"{folder}: not on the node {socket.gethostname()} ({error.strerror}); "
            "put the project where every node sees it under the same path"
        ) from error
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _brief(error: Exception) -> str:
    """Return the start of Ray's message, which may be a page, on one line."""
    return f"{type(error).__name__}: {one_line(error, 300)}"


@contextmanager
def cluster(settings: Ray, stage: str) -> Iterator[OnRay]:
    """Connect to the cluster of the params, or start one that ends with the block. An existing connection is reused.

    Raises
    ------
    UserError
        If Ray is not installed, or there is no cluster at the address.
    """
    ray = _package(settings.address)
    if ray.is_initialized():
        yield OnRay(ray, stage, settings.cpus)
        return
    # Ray's temporary folder, which Ray does not delete. It is short, because the path of a socket has at most 107 bytes.
    with TemporaryDirectory(prefix="falcon-ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        try:
            _connect(ray, settings.address, folder)
            yield OnRay(ray, stage, settings.cpus)
        finally:
            ray.shutdown()


def _package(address: str) -> Any:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray

        if address.startswith("ray://"):
            import grpc  # noqa: F401
    except ImportError as error:
        extra = "ray[client], for an address ray://" if error.name == "grpc" else "the extra `ray`"
        raise UserError(
            f"executor: ray needs the package {error.name}; install {extra} (pip install 'falcon-dvc[ray]'), or set executor: local"
        ) from error
    return ray


def _connect(ray: Any, address: str, folder: str) -> None:
    logging = {"log_to_driver": False, "logging_level": "ERROR"}
    if not address:
        # Without an address Ray reads one from the environment; `local` always starts a new cluster.
        ray.init(address="local", include_dashboard=False, _temp_dir=folder, **logging)
        return
    _check_address(address)
    try:
        # The nodes run this code, not a version that is installed on them.
        ray.init(address=address, runtime_env={"py_modules": [str(folder) for folder in paths.code()]}, **logging)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"ray.address: {address}: {_brief(error)}; start a node of the cluster on this machine "
            f"(ray start --address={address}), or correct the address"
        ) from error


def _check_address(address: str) -> None:
    """Check that a cluster answers. Ray itself would retry for minutes, without a way to interrupt it.

    Raises
    ------
    UserError
        If nothing listens at the address, or it is no cluster.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"ray.address: nothing answers at {address} ({error}); start the cluster (ray start --head), or correct the address"
        ) from error
    if not address.startswith("ray://") and not _healthy(address):
        raise UserError(
            f"ray.address: what answers at {address} is no cluster, or asks for a token (RAY_AUTH_MODE=token); correct the address"
        )


def _healthy(address: str) -> bool:
    """Return whether Ray's own health check succeeds. It runs in a process, which can be stopped."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        completed = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return completed.returncode == 0
