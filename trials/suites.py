"""Count the reliability tests: bad inputs, attacks, properties, and fuzzing with more examples than in the test suite.

``python -m trials.suites --examples 1000`` runs them and writes ``reports/reliability/tests.json``.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from xml.etree import ElementTree

import typer

from falcon_dvc.artifacts.formats import write_json

ROOT = Path(__file__).resolve().parents[1]

# The packages of pure functions on arrays.
METHOD = ("activations", "concepts", "crops", "evaluation", "failures", "groups", "transfer")
SUITES = {
    "bad_inputs": ["tests/malformed_inputs", "--ignore", "tests/malformed_inputs/test_fuzz.py"],
    "fuzzing": ["tests/malformed_inputs/test_fuzz.py"],
    "attacks": ["tests/security"],
    "properties_of_the_method": [f"tests/falcon_dvc/{folder}" for folder in METHOD],
}


def main(examples: Annotated[int, typer.Option(min=1, help="Of each test that fuzzes.")] = 1000) -> None:
    """Run each suite and write down how many tests passed, failed and were skipped."""
    found = {name: counted(arguments, examples) for name, arguments in SUITES.items()}
    found["fuzzing"]["examples_a_test"] = examples
    write_json(ROOT / "reports" / "reliability" / "tests.json", found)
    typer.echo(found)


def counted(arguments: list[str], examples: int) -> dict[str, int]:
    """Return the number of tests of a suite by outcome."""
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "--workers", "2", f"--junitxml={report}", *arguments]
        subprocess.run(
            command, cwd=ROOT, env={**os.environ, "FUZZ_EXAMPLES": str(examples), "OMP_NUM_THREADS": "1"}, check=False
        )
        suite = next(iter(ElementTree.parse(report).getroot()))
    failed = sum(int(suite.get(kind, 0)) for kind in ("failures", "errors"))
    skipped = int(suite.get("skipped", 0))
    return {"passed": int(suite.get("tests", 0)) - failed - skipped, "failed": failed, "skipped": skipped}


if __name__ == "__main__":
    typer.run(main)
