"""Copies of the shipped params with one value changed, and the line that refuses them."""

import copy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from falcon_dvc.errors import UserError
from falcon_dvc.params.load import load_params, read_yaml
from tests.support.paths import ROOT

SHIPPED = ROOT / "params.yaml"


DEFAULTS = read_yaml(SHIPPED)


GONE = object()


def changed(path: Path, place: str, value: Any, source: Any = DEFAULTS) -> Path:
    """A copy of the shipped params with the value at the dotted `place` replaced (or removed)."""
    content = copy.deepcopy(source)
    *sections, key = place.split(".")
    section = content
    for name in sections:
        section = section[name]
    section.pop(key, None)
    if value is not GONE:
        section[key] = value
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(content, file)
    return path


def problem(path: Path) -> str:
    """The one line, without the path."""
    with pytest.raises(UserError) as error:
        load_params(path)
    line = str(error.value)
    assert "\n" not in line
    assert line.startswith(f"{path}: ")
    assert len(line) < 500 + len(str(path))
    return line.removeprefix(f"{path}: ")
