"""Functions that answer from memory when they are asked the same again."""

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest


def remembered(function: Callable) -> Callable:
    """Call a function once for each set of arguments, which JSON can hold. `__wrapped__` calls it again."""
    results: dict[str, Any] = {}

    @functools.wraps(function)
    def from_memory(*arguments, **settings):
        described = json.dumps([arguments, settings], sort_keys=True)
        if described not in results:
            results[described] = function(*arguments, **settings)
        return results[described]

    return from_memory


def list_timm_once(patch: pytest.MonkeyPatch) -> None:
    """List timm's networks once: it sorts a thousand names at each call."""
    import timm

    for name in ("list_models", "list_pretrained"):
        patch.setattr(timm, name, remembered(getattr(timm, name)))
