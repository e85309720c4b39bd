"""Run `docs/recompute.py`, which recomputes a row of each table without the code of the project."""

import contextlib
import io

import numpy as np

from tests.support.paths import ROOT

SCRIPT = ROOT / "docs/recompute.py"


def recomputed() -> dict[str, tuple[str, str]]:
    """Run the script in the current folder; return the stored and the recomputed value of each row."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(SCRIPT.read_text(encoding="utf-8"), SCRIPT, "exec"), {})
    rows = [line.rsplit(" ", 2) for line in printed.getvalue().splitlines()]
    return {name: (stored, again) for name, stored, again in rows}


def agrees(stored: str, again: str) -> bool:
    """Whether two values are one word, or one number as the tables round it."""
    try:
        return bool(np.isclose(float(stored), float(again), atol=1e-4))
    except ValueError:
        return stored == again
