"""Read the words that name each class from a JSON file, which a profile names."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from falcon_dvc.errors import UserError, one_line
from falcon_dvc.images.decode import printable
from falcon_dvc.placeholders import refuse_placeholders

FORMAT = 'write {"CLASS": ["word", "another"], ...}, or {"CLASS": {"names": [...]}, ...}'


def read_class_names(path: Path) -> dict[str, list[str]]:
    """Read the words of each class. Of an entry with several lists, ``names`` counts.

    Raises
    ------
    UserError
        If the file cannot be read, or an entry is no list of words.
    """
    refuse_placeholders([path])
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: is no JSON that can be read ({one_line(error)}); {FORMAT}") from error
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path}: holds no mapping of classes; {FORMAT}")
    return {label: _words(path, label, entry) for label, entry in content.items()}


def _words(path: Path, label: str, entry: Any) -> list[str]:
    words = entry.get("names") if isinstance(entry, Mapping) else entry
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word.strip() for word in words):
        raise UserError(f"{path}: {printable(label)} has no list of words; {FORMAT}")
    return words
