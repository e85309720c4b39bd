"""Read the stages of ``dvc.yaml``, with their descriptions and keys."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from falcon_dvc.params.load import read_yaml

KEY = re.compile(r"\$\{(?:item\.)?(\w+)\}")  # the placeholder of a command for its key
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
    return {name: _stage(name, definition) for name, definition in read_yaml(path)["stages"].items()}


def _stage(name: str, definition: dict[str, Any]) -> Stage:
    body = definition.get("do", definition)
    key = KEY.search(body["cmd"])
    if key is None:
        return Stage(name, body["desc"], None)
    listed = definition["foreach"] if "foreach" in definition else definition["matrix"][key.group(1)]
    return Stage(name, body["desc"], VALUE.fullmatch(listed).group(1))  # type: ignore[union-attr]
