"""Twenty successive runs with different params: which files, cache entries and memory remain.

``python -m trials.soak --folder FOLDER`` makes a tiny project there (the real stages and dvc.yaml, small worlds and networks), runs
`dvc repro` again and again, then clears the cache with `dvc gc`; and runs the same stages as often in one process.
"""

import importlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML

from falcon_dvc.artifacts.formats import read_json, write_json
from falcon_dvc.params.load import load_params, merge
from trials.tiny import CODE, environment, make_project, stages_in_order

ROOT = Path(__file__).resolve().parents[1]

# What each run changes, in turn: late stages and early ones; none that the trained models depend on.
CHANGES: list[dict[str, dict[str, Any]]] = [
    {"concepts": {"temperature": 90.0}},
    {"report": {"high": 6}},
    {"transfer": {"seed": 1}},
    {"measure_explainability": {"null_sets": 40}},
    {"analyse_groups": {"bootstrap": 100}},
    {"concepts": {"contrast": "graded"}},
    {"failures": {"seed": 1}},
    {"find_groups": {"low_images": 20}},
    {"evaluate_concepts": {"seed": 1}},
    {"parse_captions": {"min_word": 4}},
    {"report": {"low": 4}},
    {"mine_crops": {"margin": 0.2}},
    {"concepts": {"top": 6}},
    {"transfer": {"permutations": 2}},
    {"measure_explainability": {"fdr": 0.1}},
    {"extract_activations": {"batch_size": 32}},
    {"concepts": {"captions_per_image": 3}},
    {"parse_captions": {"synonym_mentions": 8}},
    {"find_groups": {"max_groups": 3}},
    {"concepts": {"temperature": 100.0}},
]
TRAINING = ("render_scenes", "train_clip", "train_encoder")
LOCKS = ("lock", "rwlock", "rwlock.lock", "btime")  # what DVC keeps in .dvc/tmp between runs
GROWTH_MB = 30.0  # of the memory from the second run to the last: what allocators keep, not what each run adds
FORK = multiprocessing.get_context("fork")


def main(
    folder: Annotated[Path, typer.Option(help="Where the project is made; it is deleted afterwards.")],
    runs: Annotated[int, typer.Option(min=2, max=len(CHANGES))] = len(CHANGES),
    out: Annotated[Path | None, typer.Option(help="JSON file of the results.")] = None,
) -> None:
    """Run, look at what is left, clear up; print what was found, and end with 1 if anything grew."""
    folder = folder.resolve()
    prepare(folder)
    found = {"runs": [one for one in repeated(folder, runs)], "cleared": cleared(folder)}
    found["memory"] = in_one_process(folder, runs)
    shutil.rmtree(folder)
    if out is not None:
        write_json(out, found)
    typer.echo(as_markdown(found))
    if complaints := grown(found):
        typer.echo("\n".join(complaints), err=True)
        raise typer.Exit(1)


# ---- The project


def prepare(folder: Path) -> None:
    """Make the tiny project; the first run trains the models."""
    make_project(folder)
    (folder / "tmp").mkdir()
    _repro(folder)
    _commit(folder, "trained")


def _write_params(folder: Path, content: Any) -> None:
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(content, file)


def _dvc() -> list[str]:
    return [sys.executable, "-m", "dvc"]


def _environment(folder: Path) -> dict[str, str]:
    """Return what the stages are started with: temporary files go to a folder that can be looked at."""
    return {**environment(), "TMPDIR": str(folder / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}


def _repro(folder: Path) -> float:
    start = time.perf_counter()
    subprocess.run([*_dvc(), "repro", "-q"], cwd=folder, check=True, env=_environment(folder))
    return time.perf_counter() - start


def _commit(folder: Path, message: str) -> None:
    (folder / ".git/info/exclude").write_text("/tmp\n")
    who = ["-c", "user.name=soak", "-c", "user.email=soak@example.com"]
    for command in (["git", "add", "-A"], ["git", *who, "commit", "-qm", message]):
        subprocess.run(command, cwd=folder, check=True)


# ---- Runs, files, cache


def repeated(folder: Path, runs: int) -> Iterator[dict]:
    """Change params, run, commit; what is left after each run."""
    known = objects_of(folder / "dvc.lock", folder)
    for number, change in enumerate(CHANGES[:runs], start=1):
        content = YAML().load((folder / "params.yaml").read_text(encoding="utf-8"))
        merge(content, change)
        _write_params(folder, content)
        seconds = _repro(folder)
        known |= objects_of(folder / "dvc.lock", folder)
        found = {
            "run": number,
            "changed": _named(change),
            "seconds": round(seconds, 1),
            "left_behind": left_behind(folder),
            **_cache(folder, known),
        }
        typer.echo(json.dumps(found), err=True)
        _commit(folder, f"run {number}")
        yield found


def _named(change: dict[str, dict[str, Any]]) -> str:
    return ", ".join(f"{section}.{key}={value}" for section, some in change.items() for key, value in some.items())


def left_behind(folder: Path) -> list[str]:
    """Return the files that no stage declares: in data, models, reports, DVC's and the system's temporary folder."""
    declared = _outs(folder / "dvc.lock")
    places = [path for name in ("data", "models", "reports") for path in _files(folder / name)]
    ours = {name for name in CODE if name.startswith("reports")}
    strange = [
        path for path in places if path.name != ".gitignore" and not _inside(path.relative_to(folder), declared | ours)
    ]
    strange += [path for path in _files(folder / ".dvc/tmp") if path.name not in LOCKS]
    return sorted(str(path.relative_to(folder)) for path in [*strange, *_files(folder / "tmp")])


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if not path.is_dir())


def _inside(path: Path, declared: Iterable[str]) -> bool:
    return any(path == Path(some) or Path(some) in path.parents for some in declared)


def _outs(lock: Path) -> set[str]:
    """Return the paths of all outputs."""
    stages = YAML(typ="safe").load(lock.read_text(encoding="utf-8"))["stages"]
    return {out["path"] for stage in stages.values() for out in stage.get("outs", [])}


def objects_of(lock: Path, folder: Path) -> set[str]:
    """Return the names of the objects that a dvc.lock's outputs are made of; a folder's list of files is one, too."""
    stages = YAML(typ="safe").load(lock.read_text(encoding="utf-8"))["stages"]
    found = {out["md5"] for stage in stages.values() for out in stage.get("outs", [])}
    for name in [some for some in found if some.endswith(".dir")]:
        if (listed := _object(folder, name)).exists():
            found |= {one["md5"] for one in json.loads(listed.read_text(encoding="utf-8"))}
    return found


def _object(folder: Path, name: str) -> Path:
    return folder / ".dvc/cache/files/md5" / name[:2] / name[2:]


def _cache(folder: Path, known: set[str]) -> dict[str, float]:
    """Return the size of the cache, of what the runs so far put out, and of what is in the cache for no such reason; in MB."""
    store = folder / ".dvc/cache/files/md5"
    sizes = {path.parent.name + path.name: path.stat().st_size for path in _files(store)}
    runs = sum(path.stat().st_size for path in _files(folder / ".dvc/cache/runs"))
    return {
        "cache_mb": round(sum(sizes.values()) / 1e6, 3),
        "of_outputs_mb": round(sum(size for name, size in sizes.items() if name in known) / 1e6, 3),
        "unexplained_objects": len(set(sizes) - known),
        "run_cache_mb": round(runs / 1e6, 3),
    }


def cleared(folder: Path) -> dict[str, float]:
    """Return the cache before and after `dvc gc --workspace`, beside what the workspace needs; the run after it has nothing to do."""
    needed = objects_of(folder / "dvc.lock", folder)
    before = _cache(folder, needed)
    subprocess.run([*_dvc(), "gc", "-q", "--workspace", "--force"], cwd=folder, check=True, env=_environment(folder))
    after = _cache(folder, needed)
    stale = subprocess.run([*_dvc(), "status", "-q"], cwd=folder, env=_environment(folder)).returncode
    return {
        "before_mb": before["cache_mb"],
        "after_mb": after["cache_mb"],
        "not_needed_after": after["unexplained_objects"],
        "stale_after": stale,
    }


# ---- Memory


def in_one_process(folder: Path, runs: int) -> dict[str, Any]:
    """Return the memory of one process that runs all stages but the training ones, after each round, in MB."""
    out = folder / "tmp" / "memory.json"
    process = FORK.Process(target=_rounds, args=(folder, runs, out))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the stages in one process ended with {process.exitcode}")
    after = read_json(out)["after"]
    return {"after_mb": after, "second_mb": after[1], "last_mb": after[-1], "growth_mb": round(after[-1] - after[1], 1)}


def _rounds(folder: Path, runs: int, out: Path) -> None:
    """Run the stages again and again, each round with other params; note the memory after each."""
    os.chdir(folder)
    after = []
    for change in CHANGES[:runs]:
        content = YAML().load(Path("params.yaml").read_text(encoding="utf-8"))
        merge(content, change)
        _write_params(folder, content)
        params = load_params()
        for name, key in stages_in_order(params):
            if name not in TRAINING:
                importlib.import_module(f"stages.{name}").run(params, *key)
        after.append(_own_memory())
        typer.echo(f"round {len(after)}: {after[-1]} MB", err=True)
        write_json(out, {"after": after})


def _own_memory() -> float:
    """Return the anonymous memory of this process, in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return round(int(line.split()[1]) / 1e3, 1)


# ---- What came out


def grown(found: dict) -> list[str]:
    """Return the measurements that exceed their limits."""
    complaints = [
        f"run {one['run']} left {', '.join(one['left_behind'])}" for one in found["runs"] if one["left_behind"]
    ]
    complaints += [
        f"run {one['run']}: {one['unexplained_objects']} objects in the cache are no output's"
        for one in found["runs"]
        if one["unexplained_objects"]
    ]
    if found["cleared"]["not_needed_after"] or found["cleared"]["stale_after"]:
        complaints.append("`dvc gc --workspace` left what is not needed, or took what is")
    if found["memory"]["growth_mb"] > GROWTH_MB:
        complaints.append(f"memory grew by {found['memory']['growth_mb']} MB from the second round to the last")
    return complaints


def as_markdown(found: dict) -> str:
    """Return the results as tables."""
    lines = ["| run | changed | seconds | left behind | cache MB | of outputs MB | other objects |", "|---" * 7 + "|"]
    for one in found["runs"]:
        cells = (one["run"], one["changed"], one["seconds"], len(one["left_behind"]))
        lines.append(
            f"| {' | '.join(map(str, cells))} | {one['cache_mb']} | {one['of_outputs_mb']} | {one['unexplained_objects']} |"
        )
    cleared, memory = found["cleared"], found["memory"]
    return "\n".join(
        [
            *lines,
            "",
            f"dvc gc --workspace: {cleared['before_mb']} MB -> {cleared['after_mb']} MB, "
            f"{cleared['not_needed_after']} objects that the workspace does not need",
            f"one process: {memory['second_mb']} MB after run 2, {memory['last_mb']} MB after run {len(memory['after_mb'])}",
        ]
    )


if __name__ == "__main__":
    typer.run(main)
