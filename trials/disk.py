"""Run stages on a full or read-only disk. Each must fail with one line, without partial files, and keep earlier results.

``python -m trials.disk --folder FOLDER``. It mounts a small disk in memory at the folder, in a name space of its own (``unshare``).
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from falcon_dvc.artifacts.formats import write_json
from falcon_dvc.params.load import load_params
from trials.tiny import (
    RESULTS,
    Stage,
    fingerprints,
    load_libraries,
    outputs,
    remove,
    stages_in_order,
    start,
    write_params,
)

ROOT = Path(__file__).resolve().parents[1]

REPORT = ROOT / "reports" / "reliability" / "disk.json"
SIZE = 256 * 2**20
PAGE = 4096
SHARES = (0.0, 0.3, 0.7)  # of a stage's outputs that there is space for
INSIDE = "FALCON_DISK_TRIAL"


def main(folder: Annotated[Path, typer.Option(help="An empty folder, on which the disk is mounted.")]) -> None:
    """Run the tiny pipeline; then run every stage again with too little space, and on a read-only folder."""
    if INSIDE not in os.environ:
        os.execvpe("unshare", ["unshare", "-rm", sys.executable, *sys.argv], {**os.environ, INSIDE: "1"})
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f"{folder.name}.log")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", folder], check=True)
    os.chdir(folder)
    write_params(Path())
    found = tried(log)
    write_json(REPORT, found)
    typer.echo(json.dumps(found, indent=2))


def tried(log: Path) -> dict[str, int]:
    """Return the counts over all stages and shares of space."""
    load_libraries()
    stages = list(stages_in_order(load_params()))
    for stage in stages:
        assert _ended(stage, log)[0] == 0, log.read_text()
    expected = fingerprints(Path())
    counts = dict.fromkeys(("full", "read_only", "other_than_one_clear_line", "damaged", "differing_afterwards"), 0)
    for stage in stages:
        for share in SHARES:
            _with_too_little_space(stage, share, log, expected, counts)
        _read_only(stage, log, expected, counts)
    return {"stages": len(stages), **counts}


def _ended(stage: Stage, log: Path) -> tuple[int, str]:
    """Return the exit code and last line of a stage."""
    child = start(stage, log)
    child.join()
    return child.exitcode or 0, log.read_text().strip().rpartition("\n")[2]


def _with_too_little_space(stage: Stage, share: float, log: Path, expected: dict, counts: dict) -> None:
    """Let a stage run into a full disk, free the space, and let it run again."""
    size = sum(path.stat().st_size for out in outputs(stage) for path in ([out] if out.is_file() else out.rglob("*")))
    remove(outputs(stage))
    _fill(int(share * size))
    code, line = _ended(stage, log)
    Path("filler").unlink()
    if code:
        counts["full"] += 1
        _judge(stage, code, line, ("full", "space"), counts)
        counts["damaged"] += not _others(stage, expected).items() <= fingerprints(Path()).items()
        counts["damaged"] += _left_over(stage)
        assert _ended(stage, log)[0] == 0, log.read_text()
    counts["differing_afterwards"] += fingerprints(Path()) != expected


def _fill(free: int) -> None:
    """Leave so much space."""
    size = max(shutil.disk_usage(".").free - free - PAGE, PAGE) // PAGE * PAGE
    with open("filler", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)


def _read_only(stage: Stage, log: Path, expected: dict, counts: dict) -> None:
    subprocess.run(["mount", "-o", "remount,ro", "."], check=True)
    code, line = _ended(stage, log)
    subprocess.run(["mount", "-o", f"remount,rw,size={SIZE}", "."], check=True)
    counts["read_only"] += 1
    _judge(stage, code, line, ("Read-only file system",), counts)
    counts["damaged"] += fingerprints(Path()) != expected


def _judge(stage: Stage, code: int, line: str, words: tuple[str, ...], counts: dict) -> None:
    if code != 2 or not line.startswith("error: ") or not any(word in line for word in words) or "defect" in line:
        counts["other_than_one_clear_line"] += 1
        print(f"{' '.join([stage[0], *stage[1]])}: exit code {code}: {line}", flush=True)


def _others(stage: Stage, expected: dict[str, str]) -> dict[str, str]:
    """Return the files of all other stages."""
    own = outputs(stage)
    return {name: digest for name, digest in expected.items() if not any(Path(name).is_relative_to(out) for out in own)}


def _left_over(stage: Stage) -> int:
    """Return the temporary files that no run can resume from."""
    hidden = [path for result in RESULTS for path in Path(result).rglob(".*") if ".checkpoints" not in path.parts]
    return len(hidden)


if __name__ == "__main__":
    typer.run(main)
