"""Describe the problems of params.yaml: each with its file, its place, what is wrong, and the closest known key."""

import difflib
import reprlib
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from falcon_dvc.params.schema import Params

Location = tuple[int | str, ...]
MOST = 3  # problems that are described in full

# Positions in a location where pydantic inserts the kind (or "[key]" for a bad name), which is not in the file. The tags of
# `FeatureChoice`, in parentheses, are not in the file either.
_KIND_AT = {"image_text": (1, 3), "encoders": (2,), "train": (2,)}


def described(error: ValidationError, file_of: Callable[[Location, bool], Path]) -> str:
    """Describe the problems on one line, for instance ``params.yaml: concepts.contrst: unknown key; did you mean 'contrast'?``.

    Unknown keys come before missing ones. A missing key that a misspelt one is meant to be is left out.

    Parameters
    ----------
    error
        What pydantic found.
    file_of
        From the location of a problem in the file, and whether a key is missing there, to the file to correct.
    """
    problems: list[Any] = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    meant = {(*unknown["loc"][:-1], _closest(unknown["loc"])) for unknown in problems if _is_unknown(unknown)}
    shown = [problem for problem in problems if problem["type"] != "missing" or problem["loc"] not in meant]
    files = [file_of(_written(one["loc"]), one["type"] == "missing") for one in shown[:MOST]]
    texts = [f"{file}: {_described(one, one is shown[0])}" for file, one in zip(files, shown, strict=False)]
    more = f" (and {len(shown) - MOST} more)" if len(shown) > MOST else ""
    return "; also ".join(texts) + more


def from_overlay(overlay: Mapping[str, Any], own: Path, base: Path) -> Callable[[Location, bool], Path]:
    """Return the function `file_of` of `described` for params of which some come from an overlay.

    Parameters
    ----------
    overlay
        The content of the profile.
    own, base
        The file of the profile, and params.yaml.
    """

    def file_of(location: Location, missing: bool) -> Path:
        node: Any = overlay
        for part in location[:-1] if missing and len(location) > 1 else location:
            if not isinstance(node, Mapping) or part not in node:
                return base
            node = node[part]
        return own

    return file_of


def _is_unknown(problem: Any) -> bool:
    return problem["type"] == "extra_forbidden"


def _described(problem: Any, first: bool) -> str:
    place = " ".join(".".join(map(str, _written(problem["loc"]))).split()) or "params"
    if _is_unknown(problem):
        return f"{place}: unknown key{_suggestion(problem['loc'], first)}"
    if problem["type"] == "missing":
        return f"{place}: missing; add it"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should", "should")
    if problem["type"] in ("model_type", "dict_type", "model_attributes_type"):
        message = "should be a mapping of keys"
    shown = "" if isinstance(problem["input"], dict) else f", got {reprlib.repr(problem['input'])}"
    return f"{place}: {message}{shown}{_fix(problem)}"


def _fix(problem: Any) -> str:
    """Say what to write in place of a text that looks like a number or a truth value; "" otherwise."""
    text = problem["input"]
    if not isinstance(text, str):
        return ""
    if problem["type"] == "bool_type":
        return "; write true or false"
    if problem["type"] not in ("int_type", "float_type"):
        return ""
    if text.endswith("%"):
        return "; write a share from 0 to 1"
    return "; write it with a point" if "," in text else "; write a number without quotes and units"


def _written(location: Location) -> Location:
    """Return a location as it is in the file."""
    kinds = _KIND_AT.get(str(location[0]), ()) if location else ()
    parts = [part for index, part in enumerate(location) if index not in kinds]
    return tuple(part for part in parts if part not in ("(numbers)", "(random)"))


def _suggestion(location: Location, first: bool) -> str:
    """Suggest the key of the same section that is closest to the unknown one, or name all for the first problem."""
    known, close = _known_keys(location[:-1]) if first else [], _closest(location)
    return f"; did you mean '{close}'?" if close else (f"; known are: {', '.join(known)}" if known else "")


def _closest(location: Location) -> str:
    close = difflib.get_close_matches(str(location[-1]), _known_keys(location[:-1]), n=1)
    return close[0] if close else ""


def _known_keys(location: Sequence[int | str]) -> list[str]:
    """Return the keys of the section at a location of the schema; none if it is no section."""
    kind: Any = Params
    for part in location:
        kind = _inside(kind, str(part))
    return list(kind.model_fields) if _is_section(kind) else []


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _inside(kind: Any, part: str) -> Any:
    """Return the type of a part of a section, of an entry of a mapping, or of the entries of one kind."""
    if _is_section(kind):
        field = kind.model_fields.get(part)
        return field.annotation if field else None
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    return next((one for one in _members(kind) if part in _tags(one)), None)


def _members(kind: Any) -> Iterator[Any]:
    """Yield the sections in a union."""
    if get_origin(kind) is Annotated or get_origin(kind) in (Union, types.UnionType):
        inner = get_args(kind)[:1] if get_origin(kind) is Annotated else get_args(kind)
        for one in inner:
            yield from _members(one)
    elif _is_section(kind):
        yield kind


def _tags(section: type[BaseModel]) -> tuple[Any, ...]:
    """Return the values that tell a section from others, for instance of ``kind``."""
    fields = [section.model_fields[key].annotation for key in ("kind", "objective") if key in section.model_fields]
    return tuple(value for kind in fields if get_origin(kind) is Literal for value in get_args(kind))
