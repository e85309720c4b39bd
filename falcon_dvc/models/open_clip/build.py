"""Build models of open_clip by name, with their own activation and preprocessing, and with weights from any source."""

import difflib
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from falcon_dvc.errors import UserError, one_line
from falcon_dvc.models.open_clip import FOLDER, HUB, NAMED, REPOSITORIES
from falcon_dvc.models.open_clip.releases import Settings, described, settings_of_file, settings_without_file
from falcon_dvc.models.open_clip.torchscript import is_torchscript
from falcon_dvc.models.open_clip.weights import clues_of, load_weights, read_weights

CONFIG = "open_clip_config.json"
PACKAGE = "which needs the package transformers (pip install -r requirements-photos.txt)"
IN_CACHE = " from its cache; run once on a machine with a network, and copy the folder of HF_HOME (~/.cache/huggingface) to this one"


@dataclass(frozen=True)
class Source:
    """What a model is built of.

    Attributes
    ----------
    name : str
        As open_clip spells it.
    settings : Settings
        Activation and preprocessing.
    size : int, optional
        Of the input. None: the model's own.
    file : path, optional
        Of the weights. None: random numbers.
    tag : str, optional
        The release that open_clip lists, if the params name one.
    content
        Of the file, from `read_weights`.
    """

    name: str
    settings: Settings
    size: int | None = None
    file: Path | None = None
    tag: str | None = None
    content: Any = None


def loaded(spec: Any, param: str) -> tuple[Any, Callable, Source]:
    """Load a model of open_clip with its weights and its preprocessing, without unpickling.

    Parameters
    ----------
    spec
        See `source_of`.
    param : str
        For error messages: the section of params.yaml.

    Returns
    -------
    model : torch.nn.Module
    transform : callable
        From a PIL image to a tensor.
    source : Source
        What it was built of, without the content of the file.

    Raises
    ------
    UserError
        If the name is unknown, or the weights cannot be loaded or do not fit.
    """
    from open_clip.transform import PreprocessCfg, image_transform_v2

    source = source_of(spec, param)
    model = built(source, param)
    fill(model, source, param)
    transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    return model, transform, replace(source, content=None)


def source_of(spec: Any, param: str) -> Source:
    """Find configuration, weights and settings of a model of open_clip.

    Parameters
    ----------
    spec
        ``name`` (an architecture, ``hf-hub:REPOSITORY`` or ``local-dir:FOLDER``), ``pretrained`` (a tag, checkpoint, random, the
        path of a file, or name: the weights of the repository or folder), ``checkpoint``. And what replaces the settings of
        the release: ``quick_gelu``, ``size``, ``mean``, ``std``, ``squash``, ``interpolation``.
    param : str
        For error messages.

    Raises
    ------
    UserError
        If a name is unknown, a file is missing or damaged, or the settings of its release are not known.
    """
    check_model(spec, param)
    name = spelled(spec.name)
    tag, file = _weights(spec, name, param)
    with _naming(param):
        content = None if file is None else read_weights(file)
    given = _given(spec)
    settings = _settings(name, tag, file, content, given, param)
    return Source(name, replace(settings, **given), getattr(spec, "size", None), file, tag, content)


def spelled(name: str) -> str:
    """Return the name of an architecture as open_clip lists it; OpenAI writes ViT-B/32."""
    return name if scheme(name) else name.replace("/", "-")


def scheme(name: str) -> str:
    """Return the prefix of the name of a repository or folder; "" for an architecture of open_clip."""
    return next((prefix for prefix in REPOSITORIES if name.startswith(prefix)), "")


def check_model(spec: Any, param: str) -> None:
    """Check that open_clip knows the model and the tag. Nothing is built or downloaded.

    Raises
    ------
    UserError
        If a name is unknown, or a folder or file is missing. The message offers close names.
    """
    import open_clip

    name = spelled(spec.name)
    if scheme(name):
        _check_folder(name, param)
        if spec.pretrained not in (None, NAMED, "checkpoint", "random"):
            raise UserError(
                f"{param}: pretrained {spec.pretrained!r}: {name} names its own weights; leave pretrained out"
            )
        return
    _known(name, open_clip.list_models(), f"{param}: open_clip's model")
    tags = open_clip.list_pretrained_tags_by_model(name)
    value = str(spec.pretrained)
    if value in ("checkpoint", "random") or Path(value).is_file() or _clean(value) in tags:
        return
    if "/" in value or Path(value).suffix:
        raise UserError(f"{param}: pretrained {value}: no such file; name an existing file, or a tag of open_clip")
    elsewhere = open_clip.list_pretrained_models_by_tag(value)
    if elsewhere and not difflib.get_close_matches(value, tags):
        raise UserError(
            f"{param}: pretrained {value!r} is a release of {', '.join(elsewhere[:3])}, not of {name}; correct name"
        )
    if not tags:
        raise UserError(f"{param}: open_clip has no released weights of {name}; name a file as checkpoint")
    _known(value, tags, f"{param}: weights of {name}")


def _check_folder(name: str, param: str) -> None:
    """Check that the folder of a name is in open_clip's format."""
    folder = Path(name.removeprefix(FOLDER))
    if name.startswith(FOLDER) and not (folder / CONFIG).is_file():
        raise UserError(
            f"{param}: name {name}: no file {CONFIG} in this folder; name a folder that holds it and the weights"
        )


def _known(name: str, names: list[str], what: str) -> None:
    if name not in names:
        close = difflib.get_close_matches(name, names, n=3) or names[:3]
        raise UserError(f"{what} {name!r} is unknown; use for instance {', '.join(close)}")


def _clean(tag: str) -> str:
    """Return a tag as open_clip compares it."""
    return tag.lower().replace("-", "_")


def _given(spec: Any) -> dict[str, Any]:
    """Return the settings that the params replace."""
    values = {key: getattr(spec, key, None) for key in ("quick_gelu", "mean", "std", "interpolation")}
    squash = getattr(spec, "squash", None)
    if squash is None and getattr(spec, "crop", None) is not None:
        squash = False
    values["resize_mode"] = None if squash is None else "squash" if squash else "shortest"
    return {key: value for key, value in values.items() if value is not None}


def _weights(spec: Any, name: str, param: str) -> tuple[str | None, Path | None]:
    """Return the tag and the file of the weights; a release is downloaded if it is not in the cache."""
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg

    if spec.pretrained == "random":
        return None, None
    if spec.pretrained == "checkpoint":
        return None, _no_folder(Path(spec.checkpoint), param)
    if scheme(name):
        return None, _of_repository(name, param)
    if _clean(spec.pretrained) in _tags(name):
        tag = _clean(spec.pretrained)
        fetch = lambda: download_pretrained(get_pretrained_cfg(name, tag))  # noqa: E731
        return tag, Path(_fetched(fetch, param, f"{name} with {spec.pretrained!r}"))
    return None, Path(spec.pretrained)


def _tags(name: str) -> list[str]:
    from open_clip import list_pretrained_tags_by_model

    return list_pretrained_tags_by_model(name)


def _no_folder(path: Path, param: str) -> Path:
    """Return the path of a file."""
    if (path / CONFIG).is_file():
        raise UserError(f"{param}: checkpoint {path}: a folder; write name: {FOLDER}{path}, and leave pretrained out")
    if path.is_dir():
        raise UserError(f"{param}: checkpoint {path}: a folder; name the file of the weights")
    return path


def _of_repository(name: str, param: str) -> Path:
    """Return the file of the weights of a repository or a folder."""
    from open_clip.factory import _find_checkpoint_in_dir
    from open_clip.pretrained import download_pretrained_from_hf

    if name.startswith(HUB):
        return Path(_fetched(lambda: download_pretrained_from_hf(name.removeprefix(HUB)), param, name))
    found = _find_checkpoint_in_dir(Path(name.removeprefix(FOLDER)))
    if found is None:
        raise UserError(
            f"{param}: name {name}: no weights in this folder; put a .safetensors, .bin or .pth file into it"
        )
    return Path(found)


def _fetched(fetch: Callable[[], Any], param: str, what: str) -> Any:
    """Call a function that may download something; report its errors.

    Raises
    ------
    UserError
        If the function fails.
    """
    try:
        with without_warnings():
            return fetch()
    except Exception as error:  # the clients of the hubs pass on the exceptions of their HTTP libraries
        raise UserError(
            f"{param}: open_clip cannot load {what} ({type(error).__name__}: {one_line(error)}); without a network, put the "
            "weights into a file and name it as checkpoint, with pretrained: checkpoint"
        ) from error


def _settings(
    name: str, tag: str | None, file: Path | None, content: Any, given: Mapping[str, Any], param: str
) -> Settings:
    """Return the settings of the repository, the release or the file."""
    if scheme(name):
        return described(*_configuration(name, param))
    if tag is not None or file is None:
        return settings_without_file(name, tag)
    try:
        settings, releases = settings_of_file(name, file, clues_of(content), given, param)
    except UserError:
        _refuse_other_archive(Source(name, settings_without_file(name, None), file=file, content=content), param)
        raise
    _say_settings(param, file, replace(settings, **given), releases)
    return settings


def _refuse_other_archive(source: Source, param: str) -> None:
    """Refuse a TorchScript archive of another network. That it is one matters more than its release."""
    if source.file is not None and is_torchscript(source.file):
        fill(built(source, param), source, param)


def _configuration(name: str, param: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Read the configuration of a repository or a folder: that of the model, and that of its preprocessing."""
    from open_clip.pretrained import download_pretrained_from_hf

    def read() -> Any:
        folder, repository = Path(name.removeprefix(FOLDER)), name.removeprefix(HUB)
        file = folder / CONFIG if scheme(name) == FOLDER else download_pretrained_from_hf(repository, filename=CONFIG)
        return json.loads(Path(file).read_text(encoding="utf-8"))

    content = _fetched(read, param, name)
    if not isinstance(content, dict) or not isinstance(content.get("model_cfg"), dict):
        raise UserError(
            f"{param}: name {name}: its {CONFIG} holds no model_cfg; name a repository in open_clip's format"
        )
    preprocessing = content.get("preprocess_cfg") or {}
    return content["model_cfg"], preprocessing if isinstance(preprocessing, dict) else {}


def _say_settings(param: str, file: Path, settings: Settings, releases: list[str]) -> None:
    """Print which settings a file is used with, which it does not hold itself."""
    release = (
        f"as {', '.join(releases[:3])}{', ...' * (len(releases) > 3)}" if releases else "as open_clip trains by default"
    )
    activation = "QuickGELU" if settings.quick_gelu else "GELU"
    _say(
        f"{param}: {file}: {release}: {activation}, mean {settings.mean}, std {settings.std}, {settings.interpolation}, "
        f"{settings.resize_mode}"
    )


@cache
def _say(line: str) -> None:
    """Print a line on stderr, once in a process."""
    print(line, file=sys.stderr)


def built(source: Source, param: str) -> Any:
    """Build a model of open_clip with random weights, and with the preprocessing of its source in ``visual.preprocess_cfg``.

    Raises
    ------
    UserError
        If it cannot be built, for instance because the configuration of its text tower is not in the cache.
    """
    import open_clip

    options: dict[str, Any] = {"load_weights": False, "pretrained_text": False, "force_image_size": source.size}
    try:
        with without_warnings():
            return open_clip.create_model(
                source.name,
                **options,
                force_preprocess_cfg=source.settings.preprocessing,
                quick_gelu=source.settings.quick_gelu,
            )
    except Exception as error:  # open_clip and the libraries of its towers raise many types
        raise UserError(
            f"{param}: open_clip cannot build {source.name} ({_why(error)}){_text_tower(source.name)}"
        ) from error


def fill(model: Any, source: Source, param: str) -> None:
    """Load the weights of a source into the model that `built` returns for it.

    Raises
    ------
    UserError
        If they are not those of the model.
    """
    if source.file is not None:
        with _naming(param):
            load_weights(model, source.content, source.file, source.name)


@contextmanager
def _naming(param: str) -> Iterator[None]:
    """Put the section of params.yaml before errors that name the file."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{param}: {error}") from error


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(error)}"


def _text_tower(name: str) -> str:
    """Say what a text tower of transformers needs; "" for the others."""
    tower = _text_config(name).get("hf_model_name")
    return f"; its text tower is {tower} of Hugging Face, {PACKAGE}, and its config.json{IN_CACHE}" if tower else ""


def _text_config(name: str) -> Mapping[str, Any]:
    """Return the configuration of the texts of a model that can be built."""
    import open_clip

    return (open_clip.get_model_config(name) or {}).get("text_cfg", {})


def tokenizer_of(name: str, param: str) -> Callable:
    """Return the tokenizer of a model of open_clip.

    Raises
    ------
    UserError
        If it is one of Hugging Face that is not in the cache.
    """
    import open_clip

    try:
        with without_warnings():
            return open_clip.get_tokenizer(name)
    except Exception as error:  # tokenizers of other families come from a hub
        repository = _text_config(name).get("hf_tokenizer_name") or "the repository of name"
        where = name.removeprefix(FOLDER) if name.startswith(FOLDER) else f"{repository} of Hugging Face"
        raise UserError(
            f"{param}: open_clip cannot load the tokenizer of {name} ({_why(error)}); it is that of {where}, "
            f"{PACKAGE}, and its files{IN_CACHE}"
        ) from error


@contextmanager
def without_warnings() -> Iterator[None]:
    """Silence open_clip's warnings of random weights: they were asked for, or a file replaces them afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
