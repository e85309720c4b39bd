"""Read the keys of params.yaml that look-ups need, without the schema, whose import takes longer than a look-up."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from falcon_dvc.errors import UserError
from falcon_dvc.params.yaml_file import read_yaml


@dataclass(frozen=True)
class Keys:
    """What a look-up reads of params.yaml.

    Attributes
    ----------
    encoders : keys of the section ``encoders``.
    chosen : those of them whose ``features`` are chosen.
    controls : those of them with random weights (``control_of``).
    worlds : the synthetic data sets of the run.
    language : ``parse_captions.language``.
    """

    encoders: tuple[str, ...]
    chosen: frozenset[str]
    controls: frozenset[str]
    worlds: tuple[str, ...]
    language: str = "en"


def read_keys(path: str | Path = "params.yaml") -> Keys:
    """Read the keys of params.yaml; other values are not checked.

    Raises
    ------
    UserError
        If the file cannot be read, or has no encoders.
    """
    content: Any = read_yaml(Path(path))
    encoders = content.get("encoders") if isinstance(content, dict) else None
    if not isinstance(encoders, dict) or not encoders:
        raise UserError(f"{path}: encoders: missing or not a section; `falcon check` says what is wrong")
    chosen, controls = (
        frozenset(str(name) for name, entry in encoders.items() if isinstance(entry, dict) and entry.get(key))
        for key in ("features", "control_of")
    )
    worlds = tuple(map(str, content.get("worlds") or ()))
    return Keys(tuple(map(str, encoders)), chosen, controls, worlds, _language(content.get("parse_captions")))


def _language(section: Any) -> str:
    return str(section.get("language", Keys.language)) if isinstance(section, dict) else Keys.language
