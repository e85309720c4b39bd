"""Tell whether the features of a stored basis are the two sides of directions, without loading its tensors."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from falcon_dvc.artifacts.formats import MADE_AGAIN
from falcon_dvc.errors import UserError, one_line


def has_both_signs(path: Path) -> bool:
    """Return whether a file of the stage `fit_basis` holds directions whose two sides are features of their own.

    Raises
    ------
    UserError
        If the file is damaged.
    """
    if not path.exists():  # the stage was run without DVC, for an encoder without a basis
        return False
    try:
        with safe_open(path, framework="numpy") as file:
            settings = json.loads((file.metadata() or {})["basis"])
        return bool(settings and settings["both_signs"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: holds no basis ({one_line(error)}); {MADE_AGAIN}") from error
