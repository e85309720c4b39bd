"""Read and validate params.yaml. Errors name the param and the fix."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from falcon_dvc.errors import UserError
from falcon_dvc.params.problems import described
from falcon_dvc.params.released import RELEASED
from falcon_dvc.params.schema import OpenClip, Params
from falcon_dvc.params.yaml_file import read_yaml


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and validate params.yaml.

    Raises
    ------
    UserError
        If the file is not valid, or its image-text encoder does not know its images. The message is one line that describes
        each problem, with the closest known key.
    """
    path = Path(path)
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: must be a mapping of sections")
    try:
        params = validated(content)
    except ValidationError as error:
        raise UserError(described(error, lambda *_: path)) from error
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
    """JSON merge patch (RFC 7386) in place: mappings merge, null removes a key, anything else replaces.

    A key that is null already stays, as DVC needs every param that ``dvc.yaml`` lists.
    """
    for key, value in overlay.items():
        if value is None:
            if base.get(key) is not None:
                del base[key]
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
            if not base[key]:
                base[key] = {}  # without the comments of what was removed, which ruamel.yaml would misplace
        else:
            base[key] = value
