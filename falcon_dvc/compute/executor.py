"""Where the shards of a long stage are computed: in this process, or on a cluster (``executor`` in params.yaml)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar
from uuid import uuid4

from falcon_dvc.errors import UserError

if TYPE_CHECKING:
    pass

T = TypeVar("T")


class Task(NamedTuple):
    """One shard of a stage's work.

    Attributes
    ----------
    name : what errors call it: ``captions 16384-32767``.
    arguments : of the function, for this shard alone; small, since they travel.
    """

    name: str
    arguments: tuple


class Executor(Protocol):
    """Computes shards.

    Attributes
    ----------
    distributed : whether other processes do.
    """

    distributed: bool

    def map(
        self, function: Callable[..., T], tasks: Iterable[Task], *shared: Any, accelerated: bool = False
    ) -> Iterator[T]:
        """Yield ``function(*shared, *task.arguments)`` of each task, in their order.

        Parameters
        ----------
        function : of a module, without side effects: a shard may be computed twice.
        tasks : asked for one after the other; never many more than are being computed.
        shared : arguments of all tasks; they travel once.
        accelerated : a task takes a GPU where there are any.

        Raises
        ------
        UserError
            If a shard fails: its name and the cause.
        """
        ...


class Local:
    """One shard after the other, in this process, each when it is asked for.

    Parameters
    ----------
    stage : what errors call the work.
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
                found = function(*shared, *task.arguments)
            except Exception as error:
                raise shard_error(self._stage, task.name, error) from error
            yield found


def shard_error(stage: str, name: str, error: Exception) -> UserError:
    """What the user reads of a shard that failed; the function's own message, if it was meant for the user."""
    if isinstance(error, UserError):
        return error
    return UserError(f"{stage}: {name}: {type(error).__name__}: {error}")


class PerProcess(Generic[T]):
    """Something that every process makes for itself, when it needs it first: a model, an open file.

    Parameters
    ----------
    make : function of a module.
    arguments : of it; they travel in its place.
    """

    def __init__(self, make: Callable[..., T], *arguments: Any) -> None:
        self._key, self._make, self._arguments = uuid4().hex, make, arguments
        self._own: list[T] = []

    def __call__(self) -> T:
        """Return it."""
        if not self._own:
            self._own.append(self._make(*self._arguments))
        return self._own[0]

    def __reduce__(self) -> tuple:
        return _once, (self._key, self._make, self._arguments)


_ARRIVED: dict[str, PerProcess] = {}  # in a worker: the one whose shards it computes


def _once(key: str, make: Callable, arguments: tuple) -> PerProcess:
    """Return the same in every shard that a process computes; what an earlier stage's was is forgotten."""
    if key not in _ARRIVED:
        _ARRIVED.clear()
        _ARRIVED[key] = PerProcess(make, *arguments)
    return _ARRIVED[key]
