"""Which files a stage opens to read, noted while it runs in this process."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

_noted: list[set[Path]] = []  # the sets that are open; an audit hook cannot be removed


def _note(path: Any) -> None:
    if isinstance(path, (str, os.PathLike)):
        place = os.path.relpath(os.path.realpath(path))
        for found in _noted:
            found.add(Path(place))


def _audit(event: str, arguments: tuple) -> None:
    if event == "open" and _noted and not (isinstance(arguments[1], str) and set(arguments[1]) & set("wax")):
        _note(arguments[0])


sys.addaudithook(_audit)


@contextmanager
def opened_files() -> Iterator[set[Path]]:
    """Files that are opened inside, relative to the working folder. Arrow opens files without Python."""
    found: set[Path] = set()
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((pd, "read_parquet"), (pq, "ParquetFile"), (pq, "read_table")):
            patch.setattr(module, name, _noting(getattr(module, name)))
        _noted.append(found)
        try:
            yield found
        finally:
            _noted.remove(found)


def _noting(plain: Any) -> Any:
    def noting(path: Any, *arguments: Any, **named: Any) -> Any:
        _note(path)
        return plain(path, *arguments, **named)

    return noting
