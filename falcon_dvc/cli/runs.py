"""Prepare runs with a profile: an overlay on params.yaml, run in its own folder beside the default run."""

import os
import reprlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML, YAMLError

from falcon_dvc.artifacts.formats import write_text
from falcon_dvc.cli import pins
from falcon_dvc.cli.pipeline import require_readable
from falcon_dvc.cli.recipe.request import aligned_entry, alignment_entry, with_paths
from falcon_dvc.errors import UserError
from falcon_dvc.params.class_names_file import read_class_names
from falcon_dvc.params.feature_file import read_feature_file
from falcon_dvc.params.load import load_params, merge, read_yaml, validated
from falcon_dvc.params.problems import Location, described, from_overlay
from falcon_dvc.paths import PROBES, REPORTS, TRANSFERS

PROFILES, RUNS, MODELS = Path("profiles"), Path("runs"), Path("models")
# As `dvc init --subdir` would write it, with a shared cache. `dvc init` also stages files in git, which is up to the user.
# Git ignores runs/, and DVC refuses a dvc.yaml that git ignores. With no_scm, DVC does not ask git.
DVC_CONFIG = (
    "[core]\n    analytics = false\n    check_update = false\n    no_scm = true\n"
    "[plots]\n    html_template = {plots}\n[cache]\n    dir = {cache}\n"
)
LINKED = ("stages", "falcon_dvc", "dvc.yaml")  # a run uses the pipeline of the root
# A run on the synthetic data set starts from trained models: those that were kept of the profile, or those of the root. Its claims
# read the studies of the root.
TRAINED = ("dvc.lock", "models/*.safetensors", "reports/metrics/clip.json", "reports/metrics/train_*.json")
STUDIES = ("studies", "reports/photos")
PAIRS = "pairs"  # name of the image-text encoder that a table on the command line teaches
KEPT = ("metrics", "tables")  # folders that `keep` copies


def prepare(name: str, images: str = "", captions: str = "", pairs: str = "") -> Path:
    """Prepare the folder ``runs/NAME`` for `dvc repro`, and return it.

    Parameters
    ----------
    images, captions : replace the paths of the profile.
    pairs : a table of images and captions that teaches the image-text encoder of the run.

    Raises
    ------
    UserError
        If there is no such profile, a path that it needs is missing, or the merged params are invalid.
    """
    overlay, folder, base = _overlay(name), RUNS / name, Path("params.yaml")
    merged = _editable(base)
    _refuse_other_sections(f"{PROFILES / name}.yaml", overlay, merged)
    _empty_replaced_entries(merged, overlay)
    merge(merged, overlay)
    _drop_other_controls(merged["encoders"], overlay.get("encoders") or {})
    _read_feature_files(name, folder, merged.get("encoders"))
    _read_class_names(name, folder, merged.get("evaluate_classes"))
    _validate(merged, from_overlay(overlay, PROFILES / f"{name}.yaml", base))
    inputs = {key: _input(name, key, path, overlay) for key, path in (("images", images), ("captions", captions))}
    merged["data"].update({key: path for key, path in inputs.items() if path})
    _learn_from_pairs(merged, _pairs(name, pairs, overlay), overlay)
    candidate = folder / "params.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    _write_valid(candidate, merged)
    for needed in (TRANSFERS, PROBES):
        (folder / needed).mkdir(parents=True, exist_ok=True)
    _link(folder, LINKED)
    if merged["worlds"]:
        require_readable()
        _start_from_trained(folder, name)
    return folder


def _overlay(name: str) -> dict[str, Any]:
    known = sorted(path.stem for path in PROFILES.glob("*.yaml"))
    if name not in known:
        raise UserError(f"PROFILE={name}: no such profile; known are: {', '.join(known) or 'none'}")
    overlay = read_yaml(PROFILES / f"{name}.yaml") or {}
    if not isinstance(overlay, dict):
        raise UserError(f"{PROFILES / name}.yaml: should be a mapping of sections, as params.yaml is")
    return overlay


def _editable(path: Path) -> Any:
    """Read a YAML file with its comments."""
    try:
        return YAML().load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, YAMLError):
        return read_yaml(path)  # tells what is wrong with it


def _validate(merged: Any, file_of: Callable[[Location, bool], Path]) -> None:
    """Refuse params that are not valid, with the file that each problem comes from."""
    try:
        validated(_plain(merged))
    except ValidationError as error:
        raise UserError(described(error, file_of)) from error


def _plain(value: Any) -> Any:
    """Return a value without what ruamel.yaml keeps of its notation."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    kind = next((kind for kind in (bool, int, float, str) if isinstance(value, kind)), None)
    return kind(value) if kind else value


def _refuse_other_sections(file: str, overlay: dict[str, Any], base: dict[str, Any]) -> None:
    """Refuse a section of a profile that is no mapping although that of params.yaml is one."""
    for key, value in overlay.items():
        if isinstance(base.get(key), dict) and not isinstance(value, dict):
            got = "nothing" if value is None else reprlib.repr(value)
            raise UserError(f"{file}: {key}: should be a mapping of keys, got {got}; indent its keys, or leave it out")


def _empty_replaced_entries(base: Any, overlay: dict[str, Any]) -> None:
    """Empty the entries that the overlay gives a ``kind``: such an entry is complete, and keys of another kind do not fit it."""
    encoders = overlay.get("encoders")
    pairs: list[tuple[Any, dict[str, Any]]] = [(base, {"image_text": overlay.get("image_text")})]
    pairs += [(base["encoders"], encoders)] if isinstance(encoders, dict) else []
    for old, new in pairs:
        for key, entry in new.items():
            if isinstance(entry, dict) and "kind" in entry and key in old:
                old[key] = {}


def _drop_other_controls(encoders: dict[str, Any], own: dict[str, Any]) -> None:
    """Limit the controls of params.yaml to encoders that the overlay neither removes nor replaces; remove those of no other."""
    replaced = {key for key, entry in own.items() if entry is None or "kind" in entry}
    for name, entry in [(name, entry) for name, entry in encoders.items() if name not in own]:
        kept = [key for key in entry.get("control_of", ()) if key not in replaced]
        if kept:
            entry["control_of"] = kept
        elif "control_of" in entry:
            del encoders[name]


def _input(name: str, key: str, path: str, overlay: dict[str, Any]) -> str:
    """Return the path relative to the run's folder: the argument, or that of the previous call; "" to take the profile's."""
    folder, data = RUNS / name, overlay.get("data", {})
    if path:
        if not Path(path).exists():
            raise UserError(
                f"{key.upper()}={path}: not found; give the path of an existing {'folder' if key == 'images' else 'file'}"
            )
        return os.path.relpath(path, folder)
    if data.get(key):
        _check_is_there(f"{PROFILES / name}.yaml: data.{key}", folder, str(data[key]))
    if data.get(key) or data.get("source", "scenes") == "scenes":
        return ""
    previous = folder / "params.yaml"
    if previous.exists():
        return str(read_yaml(previous)["data"][key])
    raise UserError(
        f"{key.upper()} is not set; run make repro PROFILE={name} IMAGES=FOLDER CAPTIONS=FILE, or set data.{key} in the profile"
    )


def _pairs(name: str, path: str, overlay: dict[str, Any]) -> str:
    """Return the path of the pairs relative to the run's folder: the argument, or that of the previous call; "" for none."""
    folder = RUNS / name
    previous = folder / "params.yaml"
    if path:
        if not Path(path).is_file():
            raise UserError(
                f"PAIRS={path}: not found; give a table with the name of an image and a caption in each row"
            )
        return os.path.relpath(path, folder)
    if PAIRS in (overlay.get("alignments") or {}) or not previous.exists():
        return ""
    learned = (read_yaml(previous).get("alignments") or {}).get(PAIRS)
    return str(learned["pairs"]) if learned else ""


def _learn_from_pairs(merged: Any, pairs: str, overlay: dict[str, Any]) -> None:
    """Replace the image-text encoder by one that is learned from a table of pairs, whose names start from its folder.

    Its networks have maps, from which all crops of an image are embedded at once, unless the profile says how.
    """
    if pairs:
        merged["alignments"][PAIRS] = with_paths(alignment_entry(Path(pairs)), str)
        merged["image_text"] = aligned_entry(PAIRS)
        merged["mine_crops"]["embed"] = (overlay.get("mine_crops") or {}).get("embed", "maps")


def _check_is_there(param: str, folder: Path, path: str) -> None:
    """Raise if a path of a profile leads out of the run's folder to nothing. Inside it, a stage may write the path."""
    place = Path(os.path.normpath(folder / path))
    if not place.is_relative_to(folder) and not place.exists():
        raise UserError(
            f"{param}: {path} leads to {place}, which does not exist; correct it (paths are relative to {folder})"
        )


def _read_feature_files(name: str, folder: Path, encoders: Any) -> None:
    """Replace the files of chosen features by their numbers, so that DVC notices when a file has changed."""
    for key, spec in encoders.items() if isinstance(encoders, dict) else ():
        path = spec.get("features") if isinstance(spec, dict) else None
        if isinstance(path, str):
            try:
                spec["features"] = read_feature_file(Path(os.path.normpath(folder / path)))
            except UserError as error:
                raise UserError(f"{PROFILES / name}.yaml: encoders.{key}.features: {error}") from error


def _read_class_names(name: str, folder: Path, section: Any) -> None:
    """Replace the file of the words of classes by its content, so that DVC notices when it has changed."""
    path = section.get("names") if isinstance(section, dict) else None
    if isinstance(path, str):
        try:
            section["names"] = read_class_names(Path(os.path.normpath(folder / path)))
        except UserError as error:
            raise UserError(f"{PROFILES / name}.yaml: evaluate_classes.names: {error}") from error


def _write_valid(path: Path, merged: Any) -> None:
    """Write the merged params if they are valid, with what DVC watches; a typo in an overlay must not change an existing run."""
    trial, profile = path.with_suffix(".trial.yaml"), PROFILES / f"{path.parent.name}.yaml"
    try:
        _dump(trial, merged)
        params = load_params(trial)
        watched, digests = pins.texts(params, path.parent), pins.heads(params, path.parent)
        if watched or digests:
            pins.add(merged, watched, digests)
            _dump(trial, merged)
        pins.write(path.parent, watched)
        os.replace(trial, path)
    except UserError as error:
        raise UserError(str(error).replace(str(trial), f"{profile} on params.yaml")) from error
    finally:
        trial.unlink(missing_ok=True)


def _dump(path: Path, content: Any) -> None:
    text = StringIO()
    YAML().dump(content, text)
    write_text(path, f"# Made from params.yaml and the profile's overlay; edit those.\n{text.getvalue()}")


def _start_from_trained(folder: Path, name: str) -> None:
    """Copy trained models, with the lock that says from what, so that the run does not train again; existing files stay."""
    for target, source in _trained(name):
        if not (folder / target).exists():
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / target)
    _link(folder, [path for path in STUDIES if Path(path).exists()])


def _trained(name: str) -> Iterator[tuple[Path, Path]]:
    """Yield the files of trained models as they are called in a run's folder, and where they are."""
    kept = (MODELS / name).is_dir()
    for pattern in TRAINED:
        folder = Path(pattern).parent
        home = {MODELS: MODELS / name, REPORTS / "metrics": REPORTS / name / "metrics"}.get(folder, REPORTS / name)
        for path in (home if kept else folder).glob(Path(pattern).name):
            yield folder / path.name, path


def _link(folder: Path, names: Sequence[str]) -> None:
    """Link files of the root, and make the folder a DVC repository that shares the cache of the root."""
    for name in names:
        link = folder / name
        if not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(name, link.parent))
    shared = {
        name: os.path.relpath(path, folder / ".dvc")
        for name, path in (("cache", ".dvc/cache"), ("plots", ".dvc/plots.html"))
    }
    write_text(folder / ".dvc" / "config", DVC_CONFIG.format(**shared))
    write_text(folder / ".dvc" / ".gitignore", "/config.local\n/tmp\n/cache\n")
    shutil.copy(".dvcignore", folder / ".dvcignore")


def keep(name: str) -> Path:
    """Copy metrics, tables and dvc.lock of ``runs/NAME`` to ``reports/NAME``, and return that folder.

    If the run trained a model, all its models go to ``models/NAME``, where the next run finds every one it starts from.

    Raises
    ------
    UserError
        If the run has no results yet.
    """
    run, kept = RUNS / name, REPORTS / name
    if not (run / "dvc.lock").is_file():
        raise UserError(f"{run}/dvc.lock: not found; run make repro PROFILE={name} first")
    for kind in KEPT:
        shutil.rmtree(kept / kind, ignore_errors=True)
        shutil.copytree(run / REPORTS / kind, kept / kind)
    shutil.copy(run / "dvc.lock", kept / "dvc.lock")
    models = list((run / MODELS).glob("*.safetensors"))
    if not all(_same_content(model, MODELS / model.name) for model in models):
        (MODELS / name).mkdir(exist_ok=True)
        for model in models:
            shutil.copy(model, MODELS / name)
    return kept


def _same_content(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()
