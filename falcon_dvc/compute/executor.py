"""Compute the shards of a long stage, in this process or on a cluster (``executor`` in params.yaml)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from uuid import uuid4

from falcon_dvc.errors import UserError

T = TypeVar("T")


class Task(NamedTuple):
    """One shard of a stage's work.

    Attributes
    ----------
    name : str
        Name in error messages, for instance ``captions 16384-32767``.
    arguments : tuple
        Arguments of the function for this shard only. They are sent to a worker and should be small.
    """

    name: str
    arguments: tuple


class Executor(Protocol):
    """Computes shards.

    Attributes
    ----------
    distributed : bool
        Whether the shards are computed in other processes.
    """

    distributed: bool

    def map(
        self, function: Callable[..., T], tasks: Iterable[Task], *shared: Any, accelerated: bool = False
    ) -> Iterator[T]:
        """Yield ``function(*shared, *task.arguments)`` of each task, in the order of the tasks.

        Parameters
        ----------
        function : callable
            A function of a module. It must not have side effects, because a shard may be computed twice.
        tasks : iterable of Task
            Read lazily, a bounded number ahead of the results.
        shared : object
            Arguments of all tasks, sent to the workers once.
        accelerated : bool
            A task takes one GPU if the machines have any.

        Raises
        ------
        UserError
            If a shard fails, with its name and the cause.
        """
        ...


class Local:
    """Computes shards in this process, one at a time, each when its result is requested.

    Parameters
    ----------
    stage : str
        Name of the stage, for error messages.
    """

    distributed = False

    def __init__(self, stage: str) -> None:
        self._stage = stage

    def map(
        self, function: Callable[..., T], tasks: Iterable[Task], *shared: Any, accelerated: bool = False
    ) -> Iterator[T]:
        """See `Executor`."""
        for task in tasks:
            try:
                result = function(*shared, *task.arguments)
            except Exception as error:
                raise shard_error(self._stage, task.name, error) from error
            yield result


def shard_error(stage: str, name: str, error: Exception) -> UserError:
    """Return the error to show for a failed shard: `error` itself if it is a `UserError`, else its type and message."""
    if isinstance(error, UserError):
        return error
    return UserError(f"{stage}: {name}: {type(error).__name__}: {error}")


class PerProcess(Generic[T]):
    """An object that each process makes for itself at first use, for instance a model or an open file.

    Pickling sends the function and its arguments instead of the object.

    Parameters
    ----------
    make : callable
        A function of a module that returns the object.
    arguments : object
        Arguments of `make`.
    """

    def __init__(self, make: Callable[..., T], *arguments: Any) -> None:
        self._key, self._make, self._arguments = uuid4().hex, make, arguments
        self._own: list[T] = []

    def __call__(self) -> T:
        """Return the object; make it at the first call."""
        if not self._own:
            self._own.append(self._make(*self._arguments))
        return self._own[0]

    def __reduce__(self) -> tuple:
        return _received, (self._key, self._make, self._arguments)


_RECEIVED: dict[str, PerProcess] = {}  # in a worker: the object of the stage whose shards it computes


def _received(key: str, make: Callable, arguments: tuple) -> PerProcess:
    """Return the same instance for all shards in a process; drop the instance of an earlier stage."""
    if key not in _RECEIVED:
        _RECEIVED.clear()
        _RECEIVED[key] = PerProcess(make, *arguments)
    return _RECEIVED[key]
