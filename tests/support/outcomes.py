"""What the tables of bad inputs are made of: a row says what is fed in and what must come of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from falcon_dvc.errors import UserError


@dataclass(frozen=True)
class Refused:
    """The run stops with one line that holds `words` (a regular expression): the file or param, and the fix."""

    words: str


@dataclass(frozen=True)
class Skipped:
    """The input is left out and named with a reason that holds `words` (a regular expression); the others are read."""

    words: str


@dataclass(frozen=True)
class Read:
    """The input is read, and this comes out."""

    value: Any


@dataclass(frozen=True)
class Row:
    """A bad input: its name in the table, what makes it, and what must come of it."""

    name: str
    make: Any
    expected: Refused | Skipped | Read


def each(rows: list[Row]) -> pytest.MarkDecorator:
    """Run a test on every row."""
    return pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])


def assert_refused(words: str, run: Callable[[], object]) -> None:
    """The run must stop with an error of the user's that is one line of bearable length and holds the words."""
    with pytest.raises(UserError) as stop:
        run()
    line = str(stop.value)
    assert "\n" not in line and len(line) < 1000, line
    assert re.search(words, line), line
