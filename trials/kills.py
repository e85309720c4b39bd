"""Kill stages and whole runs at random moments, run them again, and compare the results with those of an undisturbed run.

``python -m trials.kills stages --kills 100`` and ``python -m trials.kills repro --kills 20``, each with ``--folder FOLDER``.
"""

import json
import os
import random
import signal
import subprocess
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated

import typer

from falcon_dvc.artifacts.formats import write_json
from falcon_dvc.compute import resume
from falcon_dvc.params.load import load_params, read_yaml
from falcon_dvc.params.schema import Params
from trials.tiny import (
    REPRO,
    Stage,
    environment,
    fingerprints,
    load_libraries,
    make_project,
    outputs,
    remove,
    stages_in_order,
    start,
    write_params,
)

ROOT = Path(__file__).resolve().parents[1]

REPORT = ROOT / "reports" / "reliability"
app = typer.Typer(no_args_is_help=True, add_completion=False)
Folder = Annotated[Path, typer.Option(help="An empty folder; what is in it stays there.")]
Kills = Annotated[int, typer.Option(min=1, help="In all.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the moments.")]


@app.command("stages")
def kill_stages(folder: Folder, kills: Kills = 100, seed: Seed = 0) -> None:
    """Kill every stage at random moments of its running time, in processes forked from one that has loaded the libraries."""
    os.makedirs(folder)
    os.chdir(folder)
    write_params(Path())
    found = killed_stages(load_params(), kills, random.Random(seed))
    write_json(REPORT / "kills_of_stages.json", found)
    typer.echo(json.dumps(found, indent=2))


@app.command("repro")
def kill_repro(folder: Folder, kills: Kills = 20, seed: Seed = 0) -> None:
    """Kill what ``make repro`` runs, with its processes, at random moments, and resume it."""
    make_project(folder)
    found = killed_repro(folder, kills, random.Random(seed))
    write_json(REPORT / "kills_of_repro.json", found)
    typer.echo(json.dumps(found, indent=2))


def killed_stages(params: Params, kills: int, chance: random.Random) -> dict:
    """Run every stage undisturbed; then kill each in turn, run it again to its end, and compare all bytes."""
    load_libraries()
    stages = list(stages_in_order(params))
    seconds = {stage: _timed(stage) for stage in stages}
    expected, counts = (
        fingerprints(Path()),
        {"kills": 0, "too_late": 0, "with_finished_work": 0, "runs_that_ended": 0, "differing": 0},
    )
    for stage in islice(cycle(stages), kills):
        for _ in range(chance.choice((1, 1, 2))):  # with probability 1/3 killed twice
            killed = _run(stage, chance.uniform(0, seconds[stage]))
            counts["kills" if killed else "too_late"] += 1
            counts["with_finished_work"] += any(resume.FOLDER.glob(f"*/*/{resume.STATE}"))
            # DVC deletes the outputs before it runs a stage; a run by hand does not.
            if chance.random() < 0.5:
                remove(outputs(stage))
        assert not _run(stage, None)
        counts["runs_that_ended"] += 1
        counts["differing"] += fingerprints(Path()) != expected
        if counts["kills"] >= kills:
            break
    left = sorted(set(fingerprints(Path())) ^ set(expected))
    return {**counts, "stages": len(stages), "files": len(expected), "files_left_over_or_lost": len(left)}


def _timed(stage: Stage) -> float:
    """Return the seconds that a stage runs."""
    began = time.monotonic()
    assert not _run(stage, None)
    return time.monotonic() - began


def _run(stage: Stage, until: float | None) -> bool:
    """Run a stage in a child, to be killed after some seconds; whether it was still running."""
    child = start(stage)
    child.join(until)
    killed = child.is_alive()
    child.kill()
    child.join()
    if not killed and child.exitcode:
        raise RuntimeError(f"{stage} ended with {child.exitcode}")
    return killed


def killed_repro(folder: Path, kills: int, chance: random.Random) -> dict:
    """Run one project undisturbed, and kill and resume others until they are complete."""
    seconds = _repro(folder, None)
    expected, counts = _results(folder), {"kills": 0, "projects": 0, "runs_that_ended": 0, "differing": 0}
    while counts["kills"] < kills:
        counts["projects"] += 1
        rough = folder.with_name(f"{folder.name}_{counts['projects']}")
        make_project(rough)
        while _repro(rough, chance.uniform(0, seconds / 4)) is None:
            counts["kills"] += 1
        counts["runs_that_ended"] += 1
        counts["differing"] += _results(rough) != expected
    return {**counts, "seconds_undisturbed": seconds, "files": len(expected)}


def _results(folder: Path) -> dict[str, str]:
    """Return all results and what DVC wrote down of them; dvc.lock and .gitignore list them in the order in which stages ended."""
    stages = read_yaml(folder / "dvc.lock")["stages"]
    files = {name: digest for name, digest in fingerprints(folder).items() if Path(name).name != ".gitignore"}
    lists = {
        name: sorted((folder / name).read_text().splitlines()) for name in fingerprints(folder) if name not in files
    }
    return (
        files
        | {name: "\n".join(lines) for name, lines in lists.items()}
        | {f"dvc.lock {name}": json.dumps(stage) for name, stage in stages.items()}
    )


def _repro(folder: Path, until: float | None) -> float | None:
    """Return the seconds that the run took; None if it was killed, with all its processes, before."""
    start = time.monotonic()
    log = (folder / "repro.log").open("ab")
    process = subprocess.Popen(
        REPRO,
        cwd=folder,
        env=environment(),
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        code = process.wait(until)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None
    if code:
        raise RuntimeError(f"the run ended with {code}; see {folder / 'repro.log'}")
    return time.monotonic() - start


if __name__ == "__main__":
    app()
