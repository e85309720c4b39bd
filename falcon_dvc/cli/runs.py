"""A profile is an overlay on params.yaml, run in a folder of its own, so that it never touches the results of the default run."""

import os
import shutil
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from falcon_dvc.artifacts.formats import write_text
from falcon_dvc.errors import UserError
from falcon_dvc.params.load import load_params, merge, read_yaml
from falcon_dvc.paths import REPORTS, TRANSFERS

PROFILES, RUNS = Path("profiles"), Path("runs")
# What `dvc init --subdir` would write (it also stages files in git, which is the user's to do), with the cache shared.
DVC_CONFIG = (
    "[core]\n    analytics = false\n    check_update = false\n"
    "[plots]\n    html_template = {plots}\n[cache]\n    dir = {cache}\n"
)
LINKED = ("stages", "falcon_dvc", "dvc.yaml")  # the pipeline itself is the root's
# A run on the rendered world starts from the root's trained models, as a clone does, and its claims table reads the root's studies.
TRAINED = ("dvc.lock", "models/*.safetensors", "reports/metrics/clip.json", "reports/metrics/train_*.json")
STUDIED = ("studies", "reports/photos")


def prepare(name: str, images: str = "", captions: str = "") -> Path:
    """Make the folder ``runs/NAME`` ready for `dvc repro`, and return it.

    Raises
    ------
    UserError
        If there is no such profile, a path that the profile needs is not given or missing, or the merged params are invalid.
    """
    overlay = _overlay(name)
    folder = RUNS / name
    inputs = {key: _input(folder, key, given, overlay) for key, given in (("images", images), ("captions", captions))}
    merged = YAML().load(Path("params.yaml").read_text(encoding="utf-8"))
    merge(merged, overlay)
    merged["data"].update({key: path for key, path in inputs.items() if path})
    candidate = folder / "params.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    _write_valid(candidate, merged)
    (folder / TRANSFERS).mkdir(parents=True, exist_ok=True)
    _link(folder, LINKED)
    if merged["worlds"]:
        _start_from_trained(folder)
    return folder


def _overlay(name: str) -> dict[str, Any]:
    known = sorted(path.stem for path in PROFILES.glob("*.yaml"))
    if name not in known:
        raise UserError(f"PROFILE={name}: no such profile; known are: {', '.join(known) or 'none'}")
    return read_yaml(PROFILES / f"{name}.yaml") or {}


def _input(folder: Path, key: str, given: str, overlay: dict[str, Any]) -> str:
    """The path as seen from the run's folder: given now, or in an earlier call."""
    if given:
        if not Path(given).exists():
            raise UserError(
                f"{key.upper()}={given}: not found; give the path of an existing {'folder' if key == 'images' else 'file'}"
            )
        return os.path.relpath(given, folder)
    if overlay.get("data", {}).get("source", "scenes") == "scenes":
        return ""
    earlier = folder / "params.yaml"
    if earlier.exists():
        return str(read_yaml(earlier)["data"][key])
    raise UserError(f"{key.upper()} is not set; run make repro PROFILE=... IMAGES=FOLDER CAPTIONS=FILE")


def _write_valid(path: Path, merged: Any) -> None:
    """Write the merged params only if they are valid, so that a typo in an overlay leaves the last good run as it was."""
    text = StringIO()
    YAML().dump(merged, text)
    trial = path.with_suffix(".trial.yaml")
    write_text(trial, f"# Made from params.yaml and the profile's overlay; edit those.\n{text.getvalue()}")
    try:
        load_params(trial)
        os.replace(trial, path)
    finally:
        trial.unlink(missing_ok=True)


def _start_from_trained(folder: Path) -> None:
    """Copy what the root's training left, so that nothing is trained again; what a run has already stays."""
    for pattern in TRAINED:
        for path in Path().glob(pattern):
            if not (folder / path).exists():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder / path)
    _link(folder, [some for some in STUDIED if Path(some).exists()])


def _link(folder: Path, names: Sequence[str]) -> None:
    """Share the code and the cache with the root, and make the folder a DVC repository of its own."""
    for linked in names:
        target = folder / linked
        if not target.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(os.path.relpath(linked, target.parent))
    shared = {
        name: os.path.relpath(path, folder / ".dvc")
        for name, path in (("cache", ".dvc/cache"), ("plots", ".dvc/plots.html"))
    }
    write_text(folder / ".dvc" / "config", DVC_CONFIG.format(**shared))
    write_text(folder / ".dvc" / ".gitignore", "/config.local\n/tmp\n/cache\n")
    shutil.copy(".dvcignore", folder / ".dvcignore")


KEPT = ("metrics", "tables")


def keep(name: str) -> Path:
    """Copy metrics, tables and dvc.lock of ``runs/NAME`` to ``reports/NAME``, to be committed.

    Raises
    ------
    UserError
        If the run has no results yet.
    """
    run, kept = RUNS / name, REPORTS / name
    if not (run / "dvc.lock").is_file():
        raise UserError(f"{run}/dvc.lock: not found; run make repro PROFILE={name} first")
    for part in KEPT:
        shutil.rmtree(kept / part, ignore_errors=True)
        shutil.copytree(run / REPORTS / part, kept / part)
    shutil.copy(run / "dvc.lock", kept / "dvc.lock")
    return kept
