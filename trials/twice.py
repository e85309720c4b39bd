"""Check that results are reproducible: two clean runs byte by byte, other threads and batches after rounding, concurrent runs.

``python -m trials.twice clean``, ``settings`` and ``together``, each with ``--folder FOLDER``.
"""

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from falcon_dvc.artifacts.formats import read_json, write_json
from falcon_dvc.params.load import load_params, read_yaml
from trials.tiny import REPRO, environment, fingerprints, make_project, stages_in_order, write_params

ROOT = Path(__file__).resolve().parents[1]

REPORT = ROOT / "reports" / "reliability"
TRAINING = ("render_scenes", "train_clip", "train_encoder")
# One run has all cores, the other has one core and so other numbers of workers. Other settings of the environment differ too.
SURROUNDINGS = (
    {"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C", "OMP_NUM_THREADS": "1"},
    {
        "PYTHONHASHSEED": "2",
        "TZ": "Asia/Kathmandu",
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "HOME": "/nonexistent",
    },
)
# Settings that must not change an id, table or metric: threads of the libraries, and sizes of blocks and batches.
SETTINGS = {
    "one thread": {"threads": 1},
    "two threads": {"threads": 2},
    "7 images at once": {"params": {"extract_activations": {"batch_size": 7}}},
    "5 crops at once": {"params": {"mine_crops": {"batch_size": 5}}},
    "100 captions at once": {
        "constants": {
            "falcon_dvc.concepts.retrieval.write_index.EMBEDDED_AT_ONCE": 64,
            "falcon_dvc.concepts.retrieval.write_index.ROWS_AT_ONCE": 100,
            "stages.parse_captions.CAPTIONS_AT_ONCE": 100,
            "falcon_dvc.concepts.scoring.corpus.CAPTIONS_AT_ONCE": 100,
            "falcon_dvc.concepts.retrieval.nearest.CROPS_AT_ONCE": 33,
            "falcon_dvc.groups.image_sets.GROUPS_AT_ONCE": 7,
            "falcon_dvc.groups.image_sets.IMAGES_AT_ONCE": 50,
        }
    },
}
DVC = [sys.executable, "-m", "dvc", "repro"]
app = typer.Typer(no_args_is_help=True, add_completion=False)
Folder = Annotated[Path, typer.Option(help="An empty folder; what is in it stays there.")]


@app.command()
def clean(folder: Folder) -> None:
    """Run ``dvc repro`` in two new projects, in other surroundings; compare the lock files and all results."""
    projects = [folder / "first", folder / "another place" / "second"]
    for project, surroundings, cores in zip(projects, SURROUNDINGS, (None, {0}), strict=True):
        make_project(project)
        with (folder / "repro.log").open("ab") as log:
            subprocess.run(
                DVC,
                cwd=project,
                env={**environment(), **surroundings},
                preexec_fn=(lambda some=cores: os.sched_setaffinity(0, some)) if cores else None,
                stdout=log,
                stderr=log,
                check=True,
            )
    locks = [read_yaml(project / "dvc.lock")["stages"] for project in projects]
    hashes = [{out["path"]: out["md5"] for stage in lock.values() for out in stage.get("outs", [])} for lock in locks]
    first, second = (fingerprints(project) for project in projects)
    _written(
        "clean_runs",
        {
            "runs": 2,
            "stages": len(locks[0]),
            "outputs": len(hashes[0]),
            "outputs_with_another_hash": sum(hashes[1].get(path) != md5 for path, md5 in hashes[0].items()),
            "same_lock_file": int(len({(project / "dvc.lock").read_bytes() for project in projects}) == 1),
            "files": len(first),
            "files_that_differ": len(set(first.items()) ^ set(second.items())),
        },
    )


@app.command()
def settings(folder: Folder) -> None:
    """Run the stages after training under other settings; compare ids, tables and metrics."""
    folder.mkdir(parents=True)
    write_params(folder)
    for name in SETTINGS:
        place = folder / name
        place.mkdir()
        write_params(place, SETTINGS[name].get("params"))
        first = folder / next(iter(SETTINGS))
        if place != first:
            for part in ("data/scenes", "data/training", "models"):
                shutil.copytree(first / part, place / part)
            (place / "reports").mkdir()
            shutil.copytree(first / "reports/metrics", place / "reports/metrics", ignore=_but_of_training)
        threads = str(SETTINGS[name].get("threads", 1))
        command = [sys.executable, "-m", "trials.twice", "once", name, "--folder", str(place.resolve())]
        subprocess.run(
            command, check=True, env={**environment(), "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        )
    reference, *others = [_rounded(folder / name) for name in SETTINGS]
    differing = {name: _differing(reference, other) for name, other in zip(list(SETTINGS)[1:], others, strict=True)}
    for name, paths in differing.items():
        print(f"{name}: {', '.join(paths) or 'the same'}", flush=True)
    counts = {name.replace(" ", "_"): len(paths) for name, paths in differing.items()}
    _written("settings", {"compared": len(reference), "differing": counts})


@app.command()
def together(folder: Folder) -> None:
    """Start the commands of ``make repro`` while another run is active in the same project."""
    make_project(folder)
    with (folder / "repro.log").open("ab") as log:
        first = subprocess.Popen(REPRO, cwd=folder, env=environment(), stdout=log, stderr=log)
        while not (folder / "data" / ".checkpoints").exists() and first.poll() is None:
            time.sleep(0.1)  # until the first stage runs
        second = subprocess.run(REPRO, cwd=folder, env=environment(), capture_output=True, text=True)
        still_running = first.poll() is None
        code = first.wait()
    typer.echo(second.stderr.strip())
    again = subprocess.run([*DVC, "--dry"], cwd=folder, env=environment(), capture_output=True, text=True)
    _written(
        "together",
        {
            "while_the_first_ran": int(still_running),
            "second_refused": int(second.returncode != 0 and "lock" in second.stderr),
            "first_ended_well": int(code == 0),
            "up_to_date_afterwards": int("up to date" in again.stdout + again.stderr),
        },
    )


def _but_of_training(_: str, names: list[str]) -> list[str]:
    return [name for name in names if not name.startswith(("clip", "train_"))]


@app.command(hidden=True)
def once(name: str, folder: Folder) -> None:
    """Run all stages (without training, if its models are there) in one process."""
    os.chdir(folder)
    for path, value in SETTINGS[name].get("constants", {}).items():
        module, _, constant = path.rpartition(".")
        assert hasattr(importlib.import_module(module), constant), path
        setattr(importlib.import_module(module), constant, value)
    params, trained = load_params(), Path("models").exists()
    for stage, key in stages_in_order(params):
        if not (trained and stage in TRAINING):
            importlib.import_module(f"stages.{stage}").run(params, *key)


def _rounded(folder: Path) -> dict[str, str]:
    """Return the ids, tables and metrics as text; floats of parquet tables in five digits."""
    found = {}
    for path in sorted([*folder.glob("reports/metrics/*.json"), *folder.glob("reports/tables/*.csv")]):
        found[str(path.relative_to(folder))] = path.read_text()
    for path in sorted(folder.glob("data/**/*.parquet")):
        if not path.is_relative_to(folder / "data" / "scenes") and not path.is_relative_to(
            folder / "data" / "training"
        ):
            found[str(path.relative_to(folder))] = pd.read_parquet(path).to_csv(index=False, float_format="%.5g")
    return found


def _differing(reference: dict[str, str], other: dict[str, str]) -> list[str]:
    return [path for path in sorted(reference.keys() | other.keys()) if reference.get(path) != other.get(path)]


def _written(name: str, found: dict) -> None:
    write_json(REPORT / f"{name}.json", found)
    typer.echo(json.dumps(read_json(REPORT / f"{name}.json"), indent=2))


if __name__ == "__main__":
    app()
