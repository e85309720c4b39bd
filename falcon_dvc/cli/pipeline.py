"""Read the stages of ``dvc.yaml``, with their descriptions and keys, and check the files that DVC reads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from falcon_dvc.errors import UserError, refuse_conflict
from falcon_dvc.params.yaml_file import KEEP_ONE, read_yaml

KEY = re.compile(r"\$\{(?:item\.)?(\w+)\}")  # the placeholder of a command for its key
PIPELINE, LOCK = Path("dvc.yaml"), Path("dvc.lock")
SCHEMA = "2.0"  # of dvc.lock
VALUE = re.compile(r"\$\{([\w.]+)\}")


@dataclass(frozen=True)
class Stage:
    """A stage of ``dvc.yaml``.

    Attributes
    ----------
    name : also the name of its module in ``stages/``.
    description : its ``desc``.
    section : dotted name of the section of params.yaml with a run for each key; None if it runs once.
    """

    name: str
    description: str
    section: str | None

    def keys(self, params: Any) -> list[str] | None:
        """List the keys that it runs for with these params; None if it runs once."""
        if self.section is None:
            return None
        keys: Iterable[str] = reduce(getattr, self.section.split("."), params)
        return list(keys)


def read_stages(path: Path) -> dict[str, Stage]:
    """Read the stages of ``dvc.yaml``, in its order.

    Raises
    ------
    UserError
        If the file is missing or not valid YAML.
    """
    return {name: _stage(name, definition) for name, definition in read_yaml(path, fast=True)["stages"].items()}


def _stage(name: str, definition: dict[str, Any]) -> Stage:
    body = definition.get("do", definition)
    key = KEY.search(body["cmd"])
    if key is None:
        return Stage(name, body["desc"], None)
    listed = definition["foreach"] if "foreach" in definition else definition["matrix"][key.group(1)]
    return Stage(name, body["desc"], VALUE.fullmatch(listed).group(1))  # type: ignore[union-attr]


def require_readable(folder: Path = Path(), at: str = "") -> None:
    """Check that DVC can read ``dvc.yaml`` and ``dvc.lock`` of a folder, as far as they exist.

    Parameters
    ----------
    folder
        The folder of the pipeline.
    at
        Where the files come from, if not from the working tree, for instance " of the last commit".

    Raises
    ------
    UserError
        If a file has conflict markers, is cut off, or is of another version of DVC.
    """
    from falcon_dvc.side_by_side import restore_after_kill

    restore_after_kill(folder)
    try:
        if (folder / PIPELINE).is_file():
            refuse_conflict(folder / PIPELINE, (folder / PIPELINE).read_text(encoding="utf-8"), KEEP_ONE)
        if (folder / LOCK).is_file():
            _require_lock(folder / LOCK)
    except UserError as error:
        text = str(error)
        for name in (PIPELINE, LOCK):
            text = text.replace(str(folder / name), str(name)) if at else text
        raise UserError(text.replace(":", f"{at}:", 1)) from error


def _require_lock(path: Path) -> None:
    fix = f"git checkout HEAD {path}, then dvc repro"
    try:
        content = read_yaml(path, by_dvc=True)
    except UserError as error:
        raise error if "merge conflict" in str(error) else UserError(f"{error}; {fix}") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if not content or (schema is not None and not isinstance(content.get("stages", {}), dict)):
        raise UserError(f"{path}: empty or cut off; {fix}")
    if schema != SCHEMA:
        found = f"schema {schema}" if schema else "no schema"
        raise UserError(f"{path}: {found}, but DVC 3 reads schema {SCHEMA}; delete it, then dvc repro runs all stages")
    for name, stage in content.get("stages", {}).items():
        if not _is_complete(stage):
            raise UserError(f"{path}: cut off in stage {name}; {fix}")


def _is_complete(stage: Any) -> bool:
    """Whether an entry of dvc.lock has what DVC requires: a command, and a path of each input and output."""
    if not isinstance(stage, dict) or "cmd" not in stage:
        return False
    return all(isinstance(item, dict) and "path" in item for key in ("deps", "outs") for item in stage.get(key) or [])
