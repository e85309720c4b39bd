"""The params of the stages that are fed with rubbish."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from falcon_dvc.params.load import merge, read_yaml, validated
from falcon_dvc.params.schema import Params
from tests.support.paths import ROOT


@cache
def _shipped() -> dict[str, Any]:
    return read_yaml(ROOT / "params.yaml")


def params_of(changes: dict[str, Any]) -> Params:
    """The shipped params with some changes."""
    content = copy.deepcopy(_shipped())
    merge(content, changes)
    return validated(content)
