"""The whole pipeline at a tiny size, for the reliability trials and for tests."""

import hashlib
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from multiprocessing.process import BaseProcess
from pathlib import Path

from ruamel.yaml import YAML

from falcon_dvc.compute import resume
from falcon_dvc.params.load import merge, read_yaml
from falcon_dvc.params.schema import Params
from stages.__main__ import main

ROOT = Path(__file__).resolve().parents[1]
TINY = {
    "render_scenes": {"clip_train": 128, "encoder_train": 128, "probe": 240, "test": 120, "captions": 300},
    "train_clip": {
        "width": 12,
        "embedding": 32,
        "text_width": 32,
        "text_layers": 1,
        "attribute_epochs": 1,
        "contrastive_epochs": 1,
        "batch": 64,
    },
    "train": {
        "supervised": {"stem": 8, "widths": [16, 24], "epochs": 1, "batch": 64},
        "simclr": {"stem": 8, "widths": [16, 24], "epochs": 1, "batch": 64},
    },
    "encoders": {"untrained_1": {"features": list(range(12))}, "untrained_2": None},
    "find_groups": {
        "top_k": 12,
        "min_images": 4,
        "max_images": 12,
        "max_groups": 4,
        "low_images": 12,
        "random_images": 12,
    },
    "measure_explainability": {"null_sets": 50, "bootstrap": 50},
    "caption_images": {"least_mentions": 2},
    "measure_faithfulness": {"reference_encoders": 2, "bootstrap": 50},
    "measure_quantiles": {"bootstrap": 50},
    "evaluate_concepts": {"bootstrap": 50, "clear": 0.1},
    "evaluate_units": {"encoders": ["supervised"], "bootstrap": 50},
    "failures": {"bootstrap": 50, "permutations": 2, "controls": 2},
    "ablate_features": {"bootstrap": 50, "directions": 20},
    "transfer": {"top_images": 6, "permutations": 1},
}
CODE = (
    "stages",
    "falcon_dvc",
    "reports/photos",
    "studies/metrics",
    "dvc.yaml",
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvcignore",
    ".gitignore",
)
Stage = tuple[str, tuple[str, ...]]  # its name, and the key that it runs for, if any
RESULTS = ("data", "models", "reports")
# What `make repro` runs.
REPRO = [sys.executable, "-m", "falcon_dvc.warm", sys.executable, "-m", "falcon_dvc.side_by_side", "2"]


@cache
def definitions() -> dict[str, dict]:
    """Return the stages of dvc.yaml, in their order."""
    return {name: stage.get("do", stage) for name, stage in read_yaml(ROOT / "dvc.yaml")["stages"].items()}


# Params that list the keys of a stage, where these are no encoders to explain.
SECTIONS = {"transfer": "transfers", "train_encoder": "train", "align_image_text": "alignments"}


def stages_in_order(params: Params) -> Iterator[Stage]:
    """Yield every stage of dvc.yaml with the key it runs for."""
    for name, definition in definitions().items():
        command = definition["cmd"].split()
        section = SECTIONS.get(name, "encoders")
        # A stage that runs for some encoders only has a list of its own.
        named = getattr(getattr(params, name, None), "encoders", getattr(params, section))
        keys = [(key,) for key in named] if len(command) > 4 else [()]
        yield from ((name, key) for key in keys)


def write_params(folder: Path, changes: dict | None = None) -> None:
    """``params.yaml`` of the tiny run."""
    content = read_yaml(ROOT / "params.yaml")
    merge(content, TINY)
    merge(content, changes or {})
    with (folder / "params.yaml").open("w") as file:
        YAML().dump(content, file)


def make_project(folder: Path) -> None:
    """Make a git and DVC repository of the tiny run, without outputs."""
    folders = [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("data/*/.gitignore"))]  # stages depend on some
    for name in (*CODE, *folders):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    write_params(folder)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)


def outputs(stage: Stage) -> list[Path]:
    """Return what a stage writes."""
    name, key = stage
    definition = definitions()[name]
    declared = [entry for kind in ("outs", "metrics", "plots") for entry in definition.get(kind, [])]
    paths = [next(iter(entry)) if isinstance(entry, dict) else entry for entry in declared]
    for slot in ("${item.encoder}", "${key}"):
        paths = [path.replace(slot, *key) if key else path for path in paths]
    return [Path(path) for path in paths]


def remove(paths: Iterable[Path]) -> None:
    """Delete files and folders, as DVC does with the outputs of a stage before it runs it."""
    for path in paths:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def start(stage: Stage, log: Path = Path(os.devnull)) -> BaseProcess:
    """Run a stage as the command line does, in a child forked from this process: it costs no imports."""
    child = multiprocessing.get_context("fork").Process(target=_in_child, args=(stage, log))
    child.start()
    return child


def _in_child(stage: Stage, log: Path) -> None:
    resume.SECONDS = 0.0  # so that short runs also leave checkpoints to resume from
    sys.stdout = sys.stderr = log.open("w")
    name, key = stage
    sys.argv = ["stages", name, *key]
    main()


def load_libraries() -> None:
    """Import the libraries of the stages before children are forked; nothing may be computed here."""
    import open_clip  # noqa: F401
    import torch  # noqa: F401


def environment() -> dict[str, str]:
    """Return the environment of this process, in which the commands of dvc.yaml find this Python."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}


def fingerprints(folder: Path, results: tuple[str, ...] = RESULTS) -> dict[str, str]:
    """Return the SHA-256 of every file of the results."""
    found = sorted(path for result in results for path in (folder / result).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
