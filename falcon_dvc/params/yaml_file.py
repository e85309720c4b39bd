"""Read YAML files as DVC does."""

from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from falcon_dvc.errors import UserError, refuse_conflict

KEEP_ONE = "keep one side of each part between <<<<<<< and >>>>>>>"


def read_yaml(path: Path, by_dvc: bool = False, fast: bool = False) -> Any:
    """Read a YAML file as DVC does (YAML 1.2, without tags that construct objects).

    Parameters
    ----------
    by_dvc : the file was written by DVC; implies `fast`.
    fast : for a file that users do not write. The parser in C, which knows YAML 1.1 only, is five times as fast.
    """
    try:
        text = path.read_text(encoding="utf-8")
        refuse_conflict(path, text, f"git checkout --theirs {path}, then dvc repro" if by_dvc else KEEP_ONE)
        return deepcopy(_parsed(text, by_dvc or fast))
    except FileNotFoundError as error:
        raise UserError(f"{path}: not found; run from the project's root") from error
    except OSError as error:
        raise UserError(f"{path}: not readable: {error.strerror}") from error
    except RecursionError as error:
        raise UserError(f"{path}: not valid YAML: it is nested too deep") from error
    except (YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date or number that is none
        tab = "; indent with spaces, not with tabs" if "\\t" in str(error) else ""
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}{tab}") from error


@lru_cache(maxsize=16)
def _parsed(text: str, fast: bool) -> Any:
    """Parse a text; a process that reads a file again parses it once."""
    return YAML(typ="safe", pure=not fast).load(text)
