"""Shards computed by Ray, on as many machines as its cluster has."""

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
from falcon_dvc.errors import UserError

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Ray

T = TypeVar("T")

AHEAD = (
    3  # shards under way, or waiting to be taken up in their order, for each that the cluster computes at the same time
)
RETRIES = 3  # of a shard whose node or process died
SECONDS = 15.0  # that a cluster may take to answer, twice
# Read when Ray is imported: nothing is sent to its makers; a machine without GPUs for a shard shows it none, as before, and says nothing.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1", "RAY_DEDUP_LOGS": "0"}


@dataclass(frozen=True)
class Failure:
    """What comes back of a shard that failed: plain texts, whatever was raised."""

    told: UserError | None
    cause: str
    trace: str


class OnNodeError(Exception):
    """The traceback on the node, for ``--debug``."""


class OnRay:
    """The executor of a cluster that this process is connected to.

    Parameters
    ----------
    ray : the package.
    stage : what errors call the work.
    cpus : of a shard.
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
        once = [self._ray.put(argument) for argument in shared]
        under_way: deque[tuple[str, Any]] = deque()
        tasks = iter(tasks)
        while True:
            for task in islice(tasks, max(AHEAD * self._at_once(needs) - len(under_way), 0)):
                under_way.append((task.name, remote.remote(os.getcwd(), function, task.arguments, *once)))
            if not under_way:
                return
            yield self._result(*under_way.popleft())

    def _needs(self, accelerated: bool) -> dict[str, int]:
        """What a shard takes of a node."""
        needs = {"num_cpus": self._cpus, "num_gpus": 0}
        if accelerated and self._ray.cluster_resources().get("GPU", 0) >= 1:
            needs["num_gpus"] = 1
        if not self._at_once(needs):
            raise UserError(
                f"ray.cpus: no node of the cluster has {self._cpus} processor cores for a shard; lower it, or add nodes"
            )
        return needs

    def _at_once(self, needs: dict[str, int]) -> int:
        """Shards that the nodes which are alive can compute at the same time."""
        keys = {"CPU": needs["num_cpus"], "GPU": needs["num_gpus"]}
        alive = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return sum(min(int(has.get(key, 0) // need) for key, need in keys.items() if need) for has in alive)

    def _result(self, name: str, reference: Any) -> Any:
        try:
            found = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:  # its process was killed again and again, or never came up
            raise UserError(f"{self._stage}: {name}: {_brief(error)}") from error
        if isinstance(found, Failure):
            raise found.told or UserError(f"{self._stage}: {name}: {found.cause}") from OnNodeError(found.trace)
        return found


def on_node(folder: str, function: Callable[..., T], arguments: tuple, *shared: Any) -> T | Failure:
    """Compute one shard in a process of a node, in the project's folder."""
    try:
        _enter(folder)
        return function(*shared, *arguments)
    except Exception as error:
        told = error if isinstance(error, UserError) else None
        return Failure(told, f"{type(error).__name__}: {error}", traceback.format_exc())


def _enter(folder: str) -> None:
    """Files are named as in the driver's process, and the user's own modules found as there."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise UserError(
            f"{folder}: not on the node {socket.gethostname()} ({error.strerror}); "
            "the project must lie where every node sees it under the same path"
        ) from error
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _brief(error: Exception) -> str:
    """Return the first lines of what Ray has to say, which may be a page."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


@contextmanager
def cluster(settings: Ray, stage: str) -> Iterator[OnRay]:
    """Join the cluster of the params, or start one that ends with the block; a connection that is there is used.

    Raises
    ------
    UserError
        If Ray is not installed, or nothing answers at the address.
    """
    ray = _package(settings.address)
    if ray.is_initialized():
        yield OnRay(ray, stage, settings.cpus)
        return
    # Ray's own folder, which it never empties; short, because the path of a socket has at most 107 bytes.
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
    said = {"log_to_driver": False, "logging_level": "ERROR"}
    if not address:
        # Ray takes an address from its environment where none is given; `local` is a new cluster in any case.
        ray.init(address="local", include_dashboard=False, _temp_dir=folder, **said)
        return
    _answers(address)
    try:
        # The nodes run this code, whatever is installed on them.
        ray.init(address=address, runtime_env={"py_modules": [str(folder) for folder in paths.code()]}, **said)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"ray.address: {address}: {_brief(error)}; start a node of the cluster on this machine "
            f"(ray start --address={address}), or correct the address"
        ) from error


def _answers(address: str) -> None:
    """Ray itself tries for minutes, and cannot be interrupted meanwhile.

    Raises
    ------
    UserError
        If nothing listens, or what listens is no cluster.
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
    """What Ray's own command says, which can be stopped."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
