"""A git repository with a DVC pipeline of two stages, small enough to run in a test."""

import subprocess
import sys
from pathlib import Path

PIPELINE = """stages:
  double:
    cmd: python double.py
    deps: [double.py]
    params: [factor]
    outs: [data]
    metrics:
      - reports/metrics/double.json: {cache: false}
    plots:
      - reports/plots/double.csv: {cache: false, template: linear, x: x, y: y}
  count:
    cmd: python count.py
    deps: [count.py, data]
    outs: [counted.txt]
"""
DOUBLE = """import pathlib
factor = int(pathlib.Path("params.yaml").read_text().split(":")[1])
for folder in ("data", "reports/metrics", "reports/plots"):
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
pathlib.Path("data/numbers.txt").write_text(str(factor))
pathlib.Path("reports/metrics/double.json").write_text('{"share": 0.%d}' % factor)
pathlib.Path("reports/plots/double.csv").write_text("x,y\\n0,0\\n1,%d\\n" % factor)
"""
COUNT = "import pathlib\npathlib.Path('counted.txt').write_text(pathlib.Path('data/numbers.txt').read_text())\n"


def command(folder: Path, *arguments: str) -> None:
    subprocess.run(arguments, cwd=folder, check=True, capture_output=True)


def commit(folder: Path, message: str) -> None:
    command(folder, "git", "add", "-A")
    command(folder, "git", "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", message)


def dvc(folder: Path, *arguments: str) -> None:
    command(folder, sys.executable, "-m", "dvc", *arguments)


def make_project(folder: Path) -> Path:
    """A project whose results are committed."""
    command(folder, "git", "init", "-q")
    dvc(folder, "init", "-q")
    dvc(folder, "config", "core.analytics", "false")
    texts = {"dvc.yaml": PIPELINE, "params.yaml": "factor: 2\n", "double.py": DOUBLE, "count.py": COUNT}
    for name, text in texts.items():
        (folder / name).write_text(text.replace("python ", f"{sys.executable} "))
    dvc(folder, "repro", "-q")
    commit(folder, "results")
    return folder
