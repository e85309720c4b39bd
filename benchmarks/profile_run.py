"""Profile a whole run: every stage after training, each in a process of its own, in a copy of this project.

``python -m falcon_dvc.warm python -m benchmarks.profile_run`` runs each stage twice: as DVC does in `make repro`, watched by
benchmarks/sampled.py (seconds, memory, shares), and under cProfile, which slows it down (the functions with the most time of their own,
in the main thread).
"""

import os
import pstats
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.sampled import COMPUTING, FILES, STARTING
from falcon_dvc.artifacts.formats import read_json, write_json
from falcon_dvc.params.load import load_params
from falcon_dvc.params.schema import Params
from falcon_dvc.warm import ADDRESS
from trials.tiny import RESULTS, Stage, definitions, environment, outputs, remove, stages_in_order

ROOT = Path(__file__).resolve().parents[1]

OUT = ROOT / "reports" / "benchmarks" / "profile.json"
TRAINING = (
    "check_params",
    "fingerprint_code",
    "render_scenes",
    "train_clip",
    "train_encoder",
)  # and what comes before it
NOT_READ = {".git", ".dvc", "runs", *RESULTS}  # results are copied, all else is linked
TOP = 3
GROUPS = (STARTING, FILES, COMPUTING)
HEAD = (
    "stage",
    "seconds",
    "CPU seconds",
    "peak MB",
    "start and imports",
    "files",
    "computing",
    "most time of their own",
)
# pstats' name of functions in C.
METHOD, FUNCTION = (
    re.compile(r"<?method '(.+)' of '(.+)' objects>?"),
    re.compile(r"<?built-in method (?:(.+)\.)?([^.]+?)>?$"),
)


def main(
    out: Annotated[Path, typer.Option(help="JSON file of the results.")] = OUT,
    folder: Annotated[
        Path | None, typer.Option(help="Where the copy is made; a new one of its own if not given.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Stages to run; all after training if not given.")] = None,
) -> None:
    """Run the stages of the project that is the working folder; print a table."""
    out = out.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        place = folder or Path(scratch) / "project"
        copy_project(Path.cwd(), place)
        chosen = [stage for stage in stages_after_training(load_params()) if not only or stage[0] in only]
        write_json(out, {"cores": len(os.sched_getaffinity(0)), "stages": profiled(chosen, place)})
    typer.echo(as_markdown(read_json(out)))


def stages_after_training(params: Params) -> list[Stage]:
    """Return the stages that DVC runs once the models are there."""
    found = [stage for stage in stages_in_order(params) if stage[0] not in TRAINING]
    return [stage for stage in found if params.worlds or not _of_a_world(stage[0])]


def _of_a_world(name: str) -> bool:
    return "world" in definitions()[name].get("matrix", {})


def copy_project(project: Path, place: Path) -> None:
    """Make a folder in which the project's stages run without changing the project: copies of the results, links to all else."""
    place.mkdir(parents=True)
    for entry in sorted(project.iterdir()):
        if entry.name in RESULTS:
            shutil.copytree(entry, place / entry.name, ignore=shutil.ignore_patterns(".checkpoints"))
        elif entry.name not in NOT_READ:
            (place / entry.name).symlink_to(entry.resolve())


def profiled(stages: Sequence[Stage], place: Path) -> dict[str, dict[str, Any]]:
    """Return what each stage takes, in order, and what it spends it on."""
    found = {}
    for stage in stages:
        found[" ".join((stage[0], *stage[1]))] = _measured(stage, place) | {"top": _top(stage, place)}
    return found


def _measured(stage: Stage, place: Path) -> dict[str, Any]:
    """Return seconds, processor time, peak memory, and the shares of the groups."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "sampled.json"
        seconds = _run(stage, place, [str(ROOT / "benchmarks" / "sampled.py"), str(out)], environment())
        found = read_json(out)
        return found | {"seconds": seconds, "shares": shares(found["seconds"], seconds)}


def shares(seconds: dict[str, float], total: float) -> dict[str, float]:
    """Return parts of 1; what was before the first look and after the last is the start of Python, and its end."""
    unseen = max(total - sum(seconds.values()), 0.0)
    whole = sum(seconds.values()) + unseen
    return {name: (seconds[name] + unseen * (name == STARTING)) / whole for name in GROUPS}


def _top(stage: Stage, place: Path) -> list[str]:
    """Return the functions with the most time of their own."""
    with tempfile.TemporaryDirectory() as scratch:
        profile = Path(scratch) / "profile"
        alone = {name: value for name, value in environment().items() if name != ADDRESS}
        _run(stage, place, ["-m", "cProfile", "-o", str(profile), "-m", "stages"], alone)
        return top(pstats.Stats(str(profile)))


def top(profile: pstats.Stats) -> list[str]:
    """Return the names of the `TOP` functions, as module:function."""
    own = {function: numbers[2] for function, numbers in profile.stats.items()}  # type: ignore[attr-defined]
    return [named(file, name) for file, _, name in sorted(own, key=lambda function: -own[function])[:TOP]]


def named(file: str, name: str) -> str:
    """module:function, without the places where modules are installed."""
    if match := METHOD.fullmatch(name):
        return f"{match[2]}:{match[1]}"
    if match := FUNCTION.fullmatch(name):
        return f"{match[1] or 'builtins'}:{match[2]}"
    if file.startswith("<frozen "):
        return f"{file[len('<frozen ') : -1]}:{name}"
    parts = Path(file).with_suffix("").parts
    starts = [place + 1 for place, part in enumerate(parts) if part in ("site-packages", f"python{sys.version[:4]}")]
    starts += [place for place, part in enumerate(parts) if part in ("stages", "falcon_dvc")]
    return f"{'.'.join(parts[max(starts, default=0) :])}:{name}"


def _run(stage: Stage, place: Path, how: list[str], environs: dict[str, str]) -> float:
    """Run a stage, its outputs gone, and return the seconds that it took.

    Raises
    ------
    RuntimeError
        If it fails.
    """
    name, key = stage
    remove([place / path for path in outputs(stage)])
    start = time.perf_counter()
    process = subprocess.run(
        [sys.executable, *how, name, *key],
        cwd=place,
        env=environs | {"PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    if process.returncode:
        said = process.stderr.decode(errors="replace")
        raise RuntimeError(f"{name} ended with {process.returncode}: {said[-500:]}")
    return time.perf_counter() - start


def rows(found: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each stage's line, and of the whole run's."""
    stages = found["stages"].values()
    for name, one in found["stages"].items():
        yield _cells(f"`{name}`", one, ", ".join(f"`{function}`" for function in one["top"]))
    total = {name: sum(one[name] for one in stages) for name in ("seconds", "cpu_seconds")}
    weighted = {name: sum(one["shares"][name] * one["seconds"] for one in stages) / total["seconds"] for name in GROUPS}
    whole = total | {"peak_mb": max(one["peak_mb"] for one in stages), "shares": weighted}
    yield _cells("all", whole, "")


def _cells(name: str, one: dict[str, Any], last: str) -> tuple[str, ...]:
    taken = f"{one['seconds']:.1f}", f"{one['cpu_seconds']:.1f}", f"{one['peak_mb']:.0f}"
    return name, *taken, *(f"{one['shares'][group]:.0%}" for group in GROUPS), last


def as_markdown(found: dict[str, Any]) -> str:
    """Return the results as a table."""
    lines = [HEAD, ("---",) * len(HEAD), *rows(found)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    typer.run(main)
