"""Compare regenerated metrics and tables with the committed ones, within the tolerances of params.yaml.

The outputs in the committed dvc.lock cannot be compared: floating point differs between processors, and so do the hashes.
The inputs must agree: the code, params and commands of the same commit.
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
from falcon_dvc.cli.pipeline import require_readable
from falcon_dvc.errors import UserError, refuse_conflict
from falcon_dvc.params.load import read_yaml

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params, Verify

LOCK = "dvc.lock"
FIX = f"run `dvc repro` and commit {LOCK}"


def run(params: Params) -> list[str]:
    """List differences from the last commit beyond tolerance, and stages with a stale lock, one line each.

    Raises
    ------
    UserError
        If no metrics are committed, or a file has conflict markers.
    """
    require_readable()
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
    """List the metrics and tables of the last commit."""
    names = (
        _git("ls-tree", "-r", "--name-only", "HEAD", f"{paths.REPORTS}/metrics", f"{paths.REPORTS}/tables")
        .decode()
        .splitlines()
    )
    return [name for name in names if name.endswith((".json", ".csv"))]


def _compare(path: str, tolerance: Verify) -> list[str]:
    sides = _git("show", f"HEAD:{path}"), Path(path).read_bytes()
    if sides[0] == sides[1]:
        return []
    for name, content in zip((f"HEAD:{path}", path), sides, strict=True):
        refuse_conflict(name, content.decode("utf-8", errors="replace"), "run `dvc repro` to make it again")
    if path.endswith(".json"):
        old, new = (_json(name, content) for name, content in zip((f"HEAD:{path}", path), sides, strict=True))
        return compare_metrics(path, old, new, tolerance.metrics)
    old, new = (pd.read_csv(io.BytesIO(content), keep_default_na=False) for content in sides)
    return compare_tables(path, old, new, tolerance.concepts)


def _json(name: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise UserError(f"{name}: not JSON ({error}); run `dvc repro` to make it again") from error


def compare_metrics(path: str, committed: object, regenerated: object, tolerance: float, key: str = "") -> list[str]:
    """List numbers that differ by more than `tolerance`, and keys that only one side has.

    The tolerance is absolute for numbers up to 1, and relative for larger ones. A number with an interval may differ by
    half the width of the interval if that is more: of eight features, one changes a share by an eighth.
    """
    if isinstance(committed, dict) and isinstance(regenerated, dict):
        allowed = max(tolerance, (committed.get("interval_high", 0) - committed.get("interval_low", 0)) / 2)
        names = sorted(committed.keys() | regenerated.keys())
        pairs = [(name, committed.get(name), regenerated.get(name)) for name in names]
        differences = [
            compare_metrics(path, old, new, allowed, f"{key}.{name}".lstrip(".")) for name, old, new in pairs
        ]
        return [line for lines in differences for line in lines]
    if isinstance(committed, (int, float)) and isinstance(regenerated, (int, float)):
        allowed = tolerance * max(1.0, abs(committed))
        if abs(committed - regenerated) <= allowed:
            return []
        return [f"{path}: {key}: committed {committed}, regenerated {regenerated} (tolerance {allowed:.3g})"]
    return [] if committed == regenerated else [f"{path}: {key}: committed {committed}, regenerated {regenerated}"]


def compare_tables(path: str, committed: pd.DataFrame, regenerated: pd.DataFrame, least: float) -> list[str]:
    """Check that at least the share `least` of the rows has the committed first word; joined by group, and in its order."""
    if not {"group", "words"} <= set(committed.columns) & set(regenerated.columns):
        return (
            []
            if list(committed.columns) == list(regenerated.columns)
            else [f"{path}: its columns are not those of the committed table"]
        )
    old, new = (_first_words(table) for table in (committed, regenerated))
    both = old.to_frame().join(new.rename("new"), how="outer").fillna("")
    same = (both["words"] == both["new"]).mean() if len(both) else 1.0
    return (
        []
        if same >= least
        else [f"{path}: only {same:.0%} of the rows have the committed first word (tolerance {least:.0%})"]
    )


def _first_words(table: pd.DataFrame) -> pd.Series:
    """Return the text before the first score of each row, by its group and its number in the group; without scores, all words."""
    first = table["words"].str.split(":", n=1).str[0]
    return first.set_axis(pd.MultiIndex.from_arrays([table["group"], table.groupby("group").cumcount()]))


def stale_locks() -> list[str]:
    """List stages whose committed lock does not belong to the committed code, params and commands, one line each.

    DVC checks a fresh clone of the last commit, so uncommitted changes of the working tree have no effect.
    """
    with TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        root, inside = (_git("rev-parse", option).decode().strip() for option in ("--show-toplevel", "--show-prefix"))
        _git("clone", "-q", "--shared", root, str(clone))
        project = clone / inside
        if not (project / "dvc.yaml").exists():
            return []
        require_readable(project, " of the last commit")
        return [
            *_changed_inputs(_status(project), lambda path: _tracked(project, path)),
            *_inconsistent(_lock(project)),
        ]


def _status(project: Path) -> dict[str, list[Any]]:
    """Run ``dvc status`` and return the changes by stage."""
    result = subprocess.run(
        [sys.executable, "-m", "dvc", "status", "--json"], cwd=project, capture_output=True, text=True
    )
    if result.returncode:
        reason = next(iter(result.stderr.strip().splitlines()[-1:]), "no reason given")
        raise UserError(f"dvc status failed on the committed dvc.yaml and {LOCK}: {reason}")
    return json.loads(result.stdout)


def _tracked(project: Path, path: str) -> bool:
    """Whether git tracks a file, or a file of a folder besides the .gitignore that DVC writes there."""
    names = _git("-C", str(project), "ls-files", "-z", "--", path).decode().split("\0")
    return any(name and Path(name).name != ".gitignore" for name in names)


def _changed_inputs(status: Mapping[str, list[Any]], tracked: Callable[[str], bool]) -> Iterator[str]:
    """Yield stages whose committed inputs differ from the lock; outputs that a clone lacks do not count.

    Parameters
    ----------
    status : as from ``dvc status --json``.
    tracked : whether git tracks a path.
    """
    for stage, changes in status.items():
        causes = [cause for change in changes for cause in _causes(change, tracked)]
        if causes:
            yield f"{LOCK}: {stage} was not run since a change of {', '.join(causes)}; {FIX}"


def _causes(change: Any, tracked: Callable[[str], bool]) -> Iterator[str]:
    """Yield the inputs in one entry of ``dvc status`` that make a lock stale."""
    if change == "changed command":
        yield "its command"
    for path, how in (change.get("changed deps", {}) if isinstance(change, dict) else {}).items():
        if isinstance(how, dict):  # a params file
            yield from how
        elif how != "deleted" and tracked(path):
            yield path


def _lock(project: Path) -> dict[str, Any]:
    path = project / LOCK
    return read_yaml(path)["stages"] if path.exists() else {}


def _inconsistent(lock: Mapping[str, Any]) -> Iterator[str]:
    """Yield stages whose input is not the locked output of its stage, as after a merge of two locks."""
    made = {out["path"]: (name, out.get("md5")) for name, stage in lock.items() for out in stage.get("outs", [])}
    for name, stage in lock.items():
        for dep in stage.get("deps", []):
            maker, content = made.get(dep["path"], (None, None))
            if maker is not None and content != dep.get("md5"):
                yield f"{LOCK}: {name} was run on another {dep['path']} than {maker} made; {FIX}"
