"""Replace the objects that a file of torch holds beside its tensors, so that no class of them is imported.

`stand_ins` reads the names of the classes and functions from the file, without performing its operations. The reader of
torch then makes an empty object in place of each of them.
"""

import _compat_pickle
import builtins
import io
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

OLD_PICKLES = 4  # at the beginning of such a file: the number, a version, the machine, the content
# No weights need what these modules do. The reader imports none of them; a file that names one is an attack.
ATTACKS = {"os", "posix", "nt", "sys", "subprocess", "runpy", "importlib", "ctypes", "pty", "shutil", "socket", "io"}
# Operations of a pickle after which the lowest of the objects that they take is still there.
KEEPING = ("REDUCE", "NEWOBJ", "BUILD", "SETITEM", "SETITEMS", "APPEND", "APPENDS")


class Unread:
    """Takes the place of an object whose class is not imported. It keeps the state of a network only, to name it."""

    def __new__(cls, *arguments: Any) -> "Unread":
        """Ignore the arguments."""
        made = object.__new__(cls)
        made.is_network = False
        return made

    def __init__(self, *arguments: Any) -> None:
        self.is_network: bool

    def __setstate__(self, state: Any) -> None:
        self.is_network = isinstance(state, Mapping) and "_parameters" in state and "_modules" in state


class UnreadItems:
    """Takes the place of a class of dictionaries: gives a plain one."""

    def __new__(cls, *arguments: Any) -> Any:
        """Ignore the arguments."""
        return OrderedDict()


class UnreadRows:
    """Takes the place of a class of lists: gives a plain one."""

    def __new__(cls, *arguments: Any) -> Any:
        """Ignore the arguments."""
        return []


def is_attack(name: str) -> bool:
    """Return whether a name stands for a function of Python's own that acts, and not for a kind of value."""
    module, _, rest = name.partition(".")
    builtin = getattr(builtins, rest, None) if module == "builtins" and rest != "getattr" else None
    return module in ATTACKS or (callable(builtin) and not isinstance(builtin, type))


def stand_ins(path: Path) -> dict[str, type]:
    """Return what takes the place of each class and function that a file of torch names, by its full name."""
    found = _Objects()
    try:
        for operation, argument in _operations(path):
            found.follow(operation, argument)
    except Exception:  # of a damaged file; torch's reader says what is wrong
        pass
    return {name: found.stand_in(name) for name in sorted(found.names)}


class _Objects:
    """Follows the operations of a pickle without performing them, to tell which objects get items or rows.

    The reader gives items to plain dictionaries and rows to plain lists only.

    Attributes
    ----------
    names : set of str
        Full names of the classes and functions.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._with_items: set[str] = set()
        self._with_rows: set[str] = set()
        self._stack: list[Any] = []
        self._memo: dict[Any, Any] = {}

    def stand_in(self, name: str) -> type:
        """Return what takes the place of an object."""
        return UnreadItems if name in self._with_items else UnreadRows if name in self._with_rows else Unread

    def follow(self, operation: pickletools.OpcodeInfo, argument: Any) -> None:
        """Change the stack as the operation does; an object is the name of its class, anything else is None."""
        if operation.name == "GLOBAL":
            self._stack.append(self._named(*argument.split(" ", 1)))
        elif "PUT" in operation.name:
            self._memo[argument] = self._stack[-1]
        elif "GET" in operation.name:
            self._stack.append(self._memo[argument])
        else:
            self._replace(operation)

    def _named(self, module: str, name: str) -> str:
        current = _current_name(module, name)
        self.names |= {f"{module}.{name}", current}
        return current

    def _replace(self, operation: pickletools.OpcodeInfo) -> None:
        """Remove what an operation takes. What it makes of an object, or adds to one, remains that object."""
        before = operation.stack_before
        if pickletools.markobject in before:
            while self._stack.pop() is not pickletools.markobject:
                pass
            before = before[: before.index(pickletools.markobject)]
        taken = [self._stack.pop() for _ in before]
        target = taken[-1] if taken else None
        if isinstance(target, str) and operation.name.startswith("SETITEM"):
            self._with_items.add(target)
        elif isinstance(target, str) and operation.name.startswith("APPEND"):
            self._with_rows.add(target)
        kept = operation.name in KEEPING
        self._stack += [
            target if kept else made if made is pickletools.markobject else None for made in operation.stack_after
        ]


def _current_name(module: str, name: str) -> str:
    """Return the name in Python 3 of an object that files name as in Python 2."""
    if (module, name) in _compat_pickle.NAME_MAPPING:
        return ".".join(_compat_pickle.NAME_MAPPING[module, name])
    return f"{_compat_pickle.IMPORT_MAPPING.get(module, module)}.{name}"


def _operations(path: Path) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    """Yield the operations of the pickles at the beginning of a file of torch, without performing them."""
    with path.open("rb") as raw:
        if raw.read(2) == b"PK":
            with zipfile.ZipFile(path) as archive:
                inside = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                yield from _of_pickles(io.BytesIO(archive.read(inside)), 1)
        else:
            raw.seek(0)
            yield from _of_pickles(raw, OLD_PICKLES)


def _of_pickles(file: BinaryIO, count: int) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    for _ in range(count):
        for operation, argument, _position in pickletools.genops(file):
            yield operation, argument
