"""Compare regenerated metrics and tables with the committed ones, within the tolerances of params.yaml, and name what is stale."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from stages.common import files
from stages.common.errors import UserError

if TYPE_CHECKING:
    from stages.common.params import Params, Verify


def run(params: Params) -> list[str]:
    """Differences between the working tree and the last commit that are beyond tolerance, one line each.

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
    return missing + [line for path in committed if Path(path).exists() for line in _compare(path, params.verify)]


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
        _git("ls-tree", "-r", "--name-only", "HEAD", f"{files.REPORTS}/metrics", f"{files.REPORTS}/tables")
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
