"""Read and validate params.yaml. Errors name the param and the fix."""

import difflib
import reprlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from falcon_dvc.errors import UserError
from falcon_dvc.params.released import RELEASED
from falcon_dvc.params.schema import OpenClip, Params
from falcon_dvc.params.yaml_file import read_yaml


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and validate params.yaml.

    Raises
    ------
    UserError
        If the file is not valid, or its image-text encoder does not know its images. The message is one line on the first
        problem, with the closest known key.
    """
    path = Path(path)
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: must be a mapping of sections")
    try:
        params = validated(content)
    except ValidationError as error:
        raise UserError(_one_line(path, error)) from error
    _refuse_synthetic_model(path, params)
    return params


def _refuse_synthetic_model(path: Path, params: Params) -> None:
    """Refuse images of the user with an image-text encoder that knows the synthetic data set alone."""
    model = params.image_text
    if params.data.source == "scenes" or not isinstance(model, OpenClip):
        return
    if model.synthetic and not model.allow_synthetic:
        raise UserError(
            f"{path}: image_text: {model.checkpoint} was trained on the synthetic data set and cannot describe other images; "
            "set name and pretrained of a published CLIP (docs/encoders.md), or image_text.allow_synthetic: true"
        )


def validated(content: dict[str, Any]) -> Params:
    """Validate a mapping and return the params. With ``compat: released``, the released constants replace the given ones.

    Raises
    ------
    pydantic.ValidationError
        If a key is unknown or missing, or a value is invalid.
    """
    params = Params.model_validate(content)
    if params.compat == "off":
        return params
    sections = {name: getattr(params, name).model_copy(update=values) for name, values in RELEASED.items()}
    return params.model_copy(update=sections)


def merge(base: Any, overlay: dict[str, Any]) -> None:
    """JSON merge patch (RFC 7386) in place: mappings merge, null removes a key, anything else replaces."""
    for key, value in overlay.items():
        if value is None:
            base.pop(key, None)
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
            if not base[key]:
                base[key] = {}  # without the comments of what was removed, which ruamel.yaml would misplace
        else:
            base[key] = value


def _one_line(path: Path, error: ValidationError) -> str:
    """Format the first problem as ``params.yaml: concepts.contrst: unknown key; did you mean 'contrast'?``.

    Unknown keys come before missing ones, because a misspelt key causes both.
    """
    first, count = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden"), error.error_count()
    place = _place(first["loc"])
    more = f" (and {count - 1} more)" if count > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{path}: {place}: unknown key{_suggestion(first['loc'])}{more}"
    if first["type"] == "missing":
        return f"{path}: {place}: missing; add it{more}"
    message = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
    shown = "" if isinstance(first["input"], dict) else f", got {reprlib.repr(first['input'])}"
    return f"{path}: {place}: {message}{shown}{more}"


# Positions in a location where pydantic inserts the kind (or "[key]" for a bad name), which is not in the file. The tags of
# `FeatureChoice`, in parentheses, are not in the file either.
_KIND_AT = {"image_text": (1, 3), "encoders": (2,), "train": (2,)}


def _place(location: tuple[int | str, ...]) -> str:
    """Dotted path of a value, on one line."""
    parts = [str(part) for index, part in enumerate(location) if index not in _KIND_AT.get(str(location[0]), ())]
    written = [part for part in parts if part not in ("(numbers)", "(random)")]
    return " ".join(".".join(written).split()) or "params"


def _suggestion(location: tuple[int | str, ...]) -> str:
    """Suggest the key of the same section that is closest to the unknown one."""
    known = _known_keys(location[:-1])
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"; did you mean '{close[0]}'?" if close else (f"; known are: {', '.join(known)}" if known else "")


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the section at `location` of the schema."""
    model: type[BaseModel] | None = Params
    for part in location:
        field = model.model_fields.get(str(part)) if model else None
        candidate = field.annotation if field else None
        model = candidate if isinstance(candidate, type) and issubclass(candidate, BaseModel) else None
    return list(model.model_fields) if model else []
