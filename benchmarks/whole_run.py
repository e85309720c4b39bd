"""Time `make repro` in fresh clones of two commits, one after the other: from rendering to the report.

``python -m benchmarks.whole_run --before REV`` in a checkout, on an idle machine. The environments are made before; their packages
are in the cache of the installer if it has been used.
"""

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from falcon_dvc.artifacts.formats import write_json

ROOT = Path(__file__).resolve().parents[1]

OUT = ROOT / "reports" / "benchmarks" / "whole_run.json"
BEFORE = "7aa3f2d"  # stages as processes of their own, and code deps in dvc.lock


def main(
    out: Annotated[Path, typer.Option(help="JSON file of the results.")] = OUT,
    before: Annotated[str, typer.Option(help="The commit to compare with.")] = BEFORE,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each commit, taken in turn.")] = 1,
) -> None:
    """Write the seconds of each run, and print them."""
    commits = {"before": before, "now": "HEAD"}
    found: dict[str, Any] = {"before_commit": before, "cores": len(os.sched_getaffinity(0)), "before": [], "now": []}
    for _ in range(repeats):
        for side, commit in commits.items():
            found[side].append(seconds_of_run(commit))
            typer.echo(f"{side} ({commit}): {found[side][-1]:.0f} s")
    write_json(out, found)


def seconds_of_run(commit: str) -> float:
    """Clone the project, install it, and return the seconds of ``make repro``."""
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch) / "clone"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        subprocess.run(["git", "-c", "advice.detachedHead=false", "checkout", "-q", commit], cwd=clone, check=True)
        own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        subprocess.run(["make", "install"], cwd=clone, env=own, check=True, stdout=subprocess.DEVNULL)
        start = time.perf_counter()
        subprocess.run(["make", "repro"], cwd=clone, env=own, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start


if __name__ == "__main__":
    typer.run(main)
