"""Compare regenerated metrics and tables with the committed ones, within the tolerances of params.yaml, and name what is stale.

The committed dvc.lock cannot be compared by its outputs: floating point differs between processors, and their hashes with it. What
must agree is what goes in: code, params and commands of the same commit.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pandas as pd

from falcon_dvc import paths
from falcon_dvc.errors import UserError
from falcon_dvc.params.load import read_yaml

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params, Verify

LOCK = "dvc.lock"
FIX = f"run `dvc repro` and commit {LOCK}"


def run(params: Params) -> list[str]:
    """Differences between the working tree and the last commit that are beyond tolerance, and stages with a stale lock; one line each.

    Raises
    ------
    UserError
        If nothing is committed to compare with.
    """
    committed = _committed_files()
    if not committed:
        raise UserError("no metrics are committed under reports/; commit the results of `dvc repro` first")
    missing = [
        f"{path}: committed, but not regenerated; run `dvc repro`" for path in committed if not Path(path).exists()
    ]
    differing = [line for path in committed if Path(path).exists() for line in _compare(path, params.verify)]
    return missing + differing + stale_locks()


def _git(*arguments: str) -> bytes:
    try:
        return subprocess.run(["git", *arguments], check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(
            f"git {arguments[0]} failed: verify compares with the last commit, so it needs a git checkout"
        ) from error


def _committed_files() -> list[str]:
    """Metrics and tables of the last commit."""
    names = (
        _git("ls-tree", "-r", "--name-only", "HEAD", f"{paths.REPORTS}/metrics", f"{paths.REPORTS}/tables")
        .decode()
        .splitlines()
    )
    return [name for name in names if name.endswith((".json", ".csv"))]


def _compare(path: str, tolerance: Verify) -> list[str]:
    committed = _git("show", f"HEAD:{path}")
    if Path(path).read_bytes() == committed:
        return []
    if path.endswith(".json"):
        return compare_metrics(
            path, json.loads(committed), json.loads(Path(path).read_text(encoding="utf-8")), tolerance.metrics
        )
    old, new = (
        pd.read_csv(io.BytesIO(content), keep_default_na=False) for content in (committed, Path(path).read_bytes())
    )
    return compare_tables(path, old, new, tolerance.concepts)


def compare_metrics(path: str, committed: object, regenerated: object, tolerance: float, key: str = "") -> list[str]:
    """Numbers that differ by more than `tolerance`: absolutely up to 1, relatively beyond; keys that came or went.

    Beside an interval, half its width is tolerated if that is more: one feature of eight is an eighth.
    """
    if isinstance(committed, dict) and isinstance(regenerated, dict):
        reach = max(tolerance, (committed.get("interval_high", 0) - committed.get("interval_low", 0)) / 2)
        names = sorted(committed.keys() | regenerated.keys())
        pairs = [(name, committed.get(name), regenerated.get(name)) for name in names]
        found = [compare_metrics(path, old, new, reach, f"{key}.{name}".lstrip(".")) for name, old, new in pairs]
        return [line for lines in found for line in lines]
    if isinstance(committed, (int, float)) and isinstance(regenerated, (int, float)):
        reach = tolerance * max(1.0, abs(committed))
        if abs(committed - regenerated) <= reach:
            return []
        return [f"{path}: {key}: committed {committed}, regenerated {regenerated} (tolerance {reach:.3g})"]
    return [] if committed == regenerated else [f"{path}: {key}: committed {committed}, regenerated {regenerated}"]


def compare_tables(path: str, committed: pd.DataFrame, regenerated: pd.DataFrame, least: float) -> list[str]:
    """Whether at least the share `least` of the groups still has the same first word; joined by group."""
    if not {"group", "words"} <= set(committed.columns) & set(regenerated.columns):
        return (
            []
            if list(committed.columns) == list(regenerated.columns)
            else [f"{path}: other columns than the committed table"]
        )
    both = (
        committed[["group", "words"]]
        .merge(regenerated[["group", "words"]], on="group", how="outer", suffixes=("", "_new"))
        .fillna("")
    )
    same = (_first_word(both["words"]) == _first_word(both["words_new"])).mean() if len(both) else 1.0
    return (
        []
        if same >= least
        else [f"{path}: only {same:.0%} of the groups have the committed first word (tolerance {least:.0%})"]
    )


def _first_word(words: pd.Series) -> pd.Series:
    return words.str.split(":", n=1).str[0]


def stale_locks() -> list[str]:
    """Stages whose committed lock belongs to other code, params or commands than those committed with it, one line each.

    DVC looks at a fresh clone of the last commit: what lies uncommitted in the working tree, or was just regenerated there,
    decides nothing.
    """
    with TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        root, inside = (_git("rev-parse", option).decode().strip() for option in ("--show-toplevel", "--show-prefix"))
        _git("clone", "-q", "--shared", root, str(clone))
        project = clone / inside
        if not (project / "dvc.yaml").exists():
            return []
        return [*_changed_inputs(_status(project), lambda path: _tracked(project, path)), *_torn(_lock(project))]


def _status(project: Path) -> dict[str, list[Any]]:
    """What ``dvc status`` finds changed, by stage."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "status", "--json"], cwd=project, capture_output=True, text=True
    )
    if done.returncode:
        reason = next(iter(done.stderr.strip().splitlines()[-1:]), "no reason given")
        raise UserError(f"dvc status failed on the committed dvc.yaml and {LOCK}: {reason}")
    return json.loads(done.stdout)


def _tracked(project: Path, path: str) -> bool:
    """Whether git holds a file, or something in a folder besides the .gitignore that DVC leaves there."""
    names = _git("-C", str(project), "ls-files", "-z", "--", path).decode().split("\0")
    return any(name and Path(name).name != ".gitignore" for name in names)


def _changed_inputs(status: Mapping[str, list[Any]], tracked: Callable[[str], bool]) -> Iterator[str]:
    """Stages with inputs of the commit that are not those of the lock; outputs that a clone lacks are no change.

    Parameters
    ----------
    status : as from ``dvc status --json``.
    tracked : whether git holds a path.
    """
    for stage, changes in status.items():
        causes = [cause for change in changes for cause in _causes(change, tracked)]
        if causes:
            yield f"{LOCK}: {stage} was not run since a change of {', '.join(causes)}; {FIX}"


def _causes(change: Any, tracked: Callable[[str], bool]) -> Iterator[str]:
    """What of one entry of ``dvc status`` makes a lock stale."""
    if change == "changed command":
        yield "its command"
    for path, how in (change.get("changed deps", {}) if isinstance(change, dict) else {}).items():
        if isinstance(how, dict):  # of a file of params
            yield from how
        elif how != "deleted" and tracked(path):
            yield path


def _lock(project: Path) -> dict[str, Any]:
    path = project / LOCK
    return read_yaml(path)["stages"] if path.exists() else {}


def _torn(lock: Mapping[str, Any]) -> Iterator[str]:
    """Stages that were run on another output of an earlier stage than the one that is locked, as after a merge of two locks."""
    made = {out["path"]: (name, out.get("md5")) for name, stage in lock.items() for out in stage.get("outs", [])}
    for name, stage in lock.items():
        for dep in stage.get("deps", []):
            maker, content = made.get(dep["path"], (None, None))
            if maker is not None and content != dep.get("md5"):
                yield f"{LOCK}: {name} was run on another {dep['path']} than {maker} made; {FIX}"
