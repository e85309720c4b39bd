"""Time ``make test``: ``python -m benchmarks.test_suite`` on an idle machine."""

import os
import re
import subprocess
import time
from pathlib import Path
from typing import Annotated

import typer

from falcon_dvc.artifacts.formats import write_json

ROOT = Path(__file__).resolve().parents[1]

OUT = ROOT / "reports" / "benchmarks" / "test_suite.json"
PASSED = re.compile(r"(\d+) passed")


def main(out: Annotated[Path, typer.Option(help="JSON file of the results.")] = OUT) -> None:
    """Write the seconds and the number of tests."""
    start = time.perf_counter()
    run = subprocess.run(["make", "test"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    took = time.perf_counter() - start
    write_json(out, {"cores": len(os.sched_getaffinity(0)), "tests": tests(run.stdout), "seconds": took})
    typer.echo(out.read_text())


def tests(output: str) -> int:
    """Return how many tests passed, from what pytest printed.

    Raises
    ------
    ValueError
        If it does not say so.
    """
    found = PASSED.search(output)
    if found is None:
        raise ValueError(f"no number of passed tests in: {output[-200:]}")
    return int(found[1])


if __name__ == "__main__":
    typer.run(main)
