"""Show progress of work that takes longer than two seconds: a bar in a terminal, else one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")
SEVERAL = "FALCON_SEVERAL"  # environment variable: other stages write to the same terminal


def track(items: Iterable[T], description: str, total: int | None = None) -> Generator[T, None, None]:
    """Yield `items` and draw a bar with rate and time left; without a terminal, print one line at the start."""
    if not _is_interactive():
        stage = os.environ.get("DVC_STAGE", "") if SEVERAL in os.environ else ""
        print(f"{stage and stage + ': '}{description} ...", file=sys.stderr, flush=True)
        yield from items
        return
    with _bar() as progress:
        yield from progress.track(items, total=total, description=description)


def _is_interactive() -> bool:
    """Return whether standard error is a terminal of this stage alone, and not that of a build machine, which sets ``CI``."""
    return sys.stderr.isatty() and SEVERAL not in os.environ and os.environ.get("CI", "").lower() in ("", "0", "false")


def _bar() -> Progress:
    """Build a bar with description, count, rate, elapsed time and time left."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(rate(task.finished_speed or task.speed), style="progress.data.speed")

    columns = (BarColumn(), MofNCompleteColumn(), Rate(), TimeElapsedColumn(), TimeRemainingColumn())
    description = TextColumn("{task.description}", markup=False)
    return Progress(description, *columns, console=Console(stderr=True), transient=True)


def rate(speed: float | None) -> str:
    """Format a speed as items per second, or as seconds per item; "" if it is unknown."""
    if not speed:
        return ""
    return f"{speed:.0f}/s" if speed >= 10 else f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each"
