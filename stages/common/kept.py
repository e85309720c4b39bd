"""What is committed of a profile's run: its small results, and the lock file that traces them."""

import shutil
from pathlib import Path

from stages.common.errors import UserError
from stages.common.files import REPORTS
from stages.common.profiles import RUNS

KEPT = ("metrics", "tables")


def keep(name: str) -> Path:
    """Copy metrics, tables and dvc.lock of ``runs/NAME`` to ``reports/NAME``, to be committed.

    Raises
    ------
    UserError
        If the run has no results yet.
    """
    run, kept = RUNS / name, REPORTS / name
    if not (run / "dvc.lock").is_file():
        raise UserError(f"{run}/dvc.lock: not found; run make repro PROFILE={name} first")
    for part in KEPT:
        shutil.rmtree(kept / part, ignore_errors=True)
        shutil.copytree(run / REPORTS / part, kept / part)
    shutil.copy(run / "dvc.lock", kept / "dvc.lock")
    return kept
