"""Functions that answer from memory when they are asked the same again."""

import functools
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from falcon_dvc.artifacts.formats import write_text


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


def shared_texts(function: Callable[..., str], folder: Path) -> Callable[..., str]:
    """Call a function that gives a text once for each set of arguments in all processes that share the folder."""

    @functools.wraps(function)
    def from_folder(*arguments, **settings):
        described = json.dumps([arguments, settings], sort_keys=True)
        path = folder / sha256(described.encode()).hexdigest()
        if not path.exists():
            folder.mkdir(exist_ok=True)
            write_text(path, function(*arguments, **settings))
        return path.read_text(encoding="utf-8")

    return from_folder


def list_timm_once(patch: pytest.MonkeyPatch) -> None:
    """List timm's networks once: it sorts a thousand names at each call."""
    import timm

    for name in ("list_models", "list_pretrained"):
        patch.setattr(timm, name, remembered(getattr(timm, name)))
