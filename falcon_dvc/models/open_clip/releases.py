"""Settings of a network of open_clip that its file does not hold: activation and preprocessing.

Releases of one architecture can differ in both. A wrong activation or standardisation gives embeddings of another
function, and no error. So a file is matched to the releases that open_clip lists, by its path and its content. If the
releases that remain differ, the params must decide.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePath
from typing import Any

from falcon_dvc.errors import UserError

Channels = tuple[float, ...]


@dataclass(frozen=True)
class Settings:
    """Activation and preprocessing of a network.

    Attributes
    ----------
    quick_gelu : bool
        Whether the activation is ``x * sigmoid(1.702 x)`` instead of GELU.
    mean, std : three numbers
        Mean and standard deviation of the channels, for values in [0, 1].
    interpolation : {"bicubic", "bilinear"}
        Filter for scaling.
    resize_mode : {"shortest", "squash", "longest"}
        Whether the central square is seen, the image squashed to a square, or the image with a border.
    """

    quick_gelu: bool
    mean: Channels
    std: Channels
    interpolation: str
    resize_mode: str

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What open_clip calls the preprocessing."""
        return {key: getattr(self, key) for key in ("mean", "std", "interpolation", "resize_mode")}


@dataclass(frozen=True)
class Clues:
    """What the content of a file says about its release.

    Attributes
    ----------
    openai : bool
        Whether it has the entries that only OpenAI's files have.
    training : bool
        Whether it is a checkpoint of open_clip's own training.
    """

    openai: bool = False
    training: bool = False


def described(config: Mapping[str, Any], preprocessing: Mapping[str, Any]) -> Settings:
    """Return the settings that the configuration of a model and that of its preprocessing give."""
    from open_clip.transform import PreprocessCfg

    filled = {**vars(PreprocessCfg()), **{key: value for key, value in preprocessing.items() if value is not None}}
    quick = bool(config.get("quick_gelu", False) or preprocessing.get("quick_gelu", False))
    return Settings(
        quick, _channels(filled["mean"]), _channels(filled["std"]), filled["interpolation"], filled["resize_mode"]
    )


def _channels(values: Any) -> Channels:
    """Return a number for each channel; open_clip takes one number for all."""
    return tuple(values) if isinstance(values, Sequence) else (values,) * 3


def settings_of_file(
    name: str, file: Path, clues: Clues, given: Mapping[str, Any], param: str
) -> tuple[Settings, list[str]]:
    """Return the settings of a file with weights of an architecture, and the tags of the releases that it can be.

    Parameters
    ----------
    name : str
        An architecture of open_clip.
    file : path
        Its name, and that of its folder, are compared with the names of the releases.
    clues : Clues
        From the content of the file.
    given : dict
        Settings that the params set.
    param : str
        For the error: where the params stand.

    Raises
    ------
    UserError
        If the releases that remain differ in a setting that is not given.
    """
    config, listed = _listed(name)
    named = _named(listed, file, clues)
    fitting = {tag: described(config, listed[tag]) for tag in listed if not named or tag in named}
    quick = given.get("quick_gelu")
    fitting = {tag: one for tag, one in fitting.items() if quick in (None, one.quick_gelu)} or fitting
    if not fitting or (clues.training and not named and differing(fitting)):
        return described(config, {}), []
    unknown = [key for key in differing(fitting) if key not in given]
    if unknown:
        raise UserError(_undecided(name, file, unknown, fitting, param))
    return next(iter(fitting.values())), list(fitting)


def settings_without_file(name: str, tag: str | None) -> Settings:
    """Return the settings of a release, or those of random weights: what all releases of an architecture share."""
    config, listed = _listed(name)
    if tag is not None:
        return described(config, listed[tag])
    releases = {tag: replace(described(config, release), quick_gelu=False) for tag, release in listed.items()}
    own = described(config, {})
    if not releases or differing(releases):
        return own
    return replace(next(iter(releases.values())), quick_gelu=own.quick_gelu)


def _listed(name: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return open_clip's configuration of an architecture, and that of each of its releases."""
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    tags = open_clip.list_pretrained_tags_by_model(name)
    return open_clip.get_model_config(name) or {}, {tag: get_pretrained_cfg(name, tag) for tag in tags}


def differing(releases: Mapping[str, Settings]) -> list[str]:
    """Return the settings in which releases differ."""
    return [
        field.name
        for field in fields(Settings)
        if len({getattr(settings, field.name) for settings in releases.values()}) > 1
    ]


def _undecided(name: str, file: Path, unknown: Sequence[str], releases: Mapping[str, Settings], param: str) -> str:
    """Say in which settings the possible releases differ, and how to choose."""
    groups: dict[Settings, list[str]] = {}
    for tag, settings in releases.items():
        groups.setdefault(settings, []).append(tag)
    params = ["squash" if key == "resize_mode" else key for key in unknown]
    values = "; ".join(
        f"{', '.join(f'{key} {_value(settings, key)}' for key in params)}: {', '.join(tags[:3])}{', ...' * (len(tags) > 3)}"
        for settings, tags in groups.items()
    )
    example = f"{name}-{next(iter(releases))}{file.suffix}"
    return (
        f"{param}: {file}: releases of {name} differ, and the file does not say which it is ({values}); "
        f"set {' and '.join(params)}, or name the file after its release, for instance {example}"
    )


def _value(settings: Settings, key: str) -> str:
    """Format a setting as params.yaml holds it."""
    value = settings.resize_mode == "squash" if key == "squash" else getattr(settings, key)
    return str(value).lower() if isinstance(value, bool) else str(list(value) if isinstance(value, tuple) else value)


def _named(listed: Mapping[str, Mapping[str, Any]], file: Path, clues: Clues) -> set[str]:
    """Return the tags of the releases that the path or the content of a file names; none if neither does."""
    if clues.openai and "openai" in listed:
        return {"openai"}
    text = _plain(_shown(file))
    found = {
        tag: max((len(word) for word in _words(tag, release) if word in text), default=0)
        for tag, release in listed.items()
    }
    longest = max(found.values(), default=0)
    if longest:
        return {tag for tag, length in found.items() if length == longest}
    return {tag for tag, release in listed.items() if release.get("quick_gelu")} if "quickgelu" in text else set()


def _shown(file: Path) -> str:
    """Return the names of a file and its folder; in the cache of a hub, that of the repository."""
    repository = file.parents[2].name if len(file.parents) > 2 and file.parents[1].name == "snapshots" else ""
    return " ".join((repository, file.parent.name, file.name))


def _words(tag: str, release: Mapping[str, Any]) -> set[str]:
    """Return what names a release in a path: its tag, the first word of the tag, its repository, its published file."""
    repository = str(release.get("hf_hub", "")).rstrip("/").split("/")
    published = PurePath(str(release.get("url", ""))).stem
    # OpenAI's files have the name of the architecture, which others may have too.
    words = {tag, tag.split("_")[0], *repository[1:2], *([] if tag == "openai" else [published])}
    return {_plain(word) for word in words if word}


def _plain(text: str) -> str:
    """Return a text in lower case without punctuation, as names of one release are spelled in several ways."""
    return re.sub(r"[^a-z0-9 ]", "", text.lower())
