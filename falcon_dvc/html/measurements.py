"""Tables of metrics files: one row for each number, one column for each encoder or pair."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Number = int | float
Path = tuple[str, ...]  # keys of a level of a metrics file


@dataclass(frozen=True)
class Measurement:
    """A number, with its interval if it has one."""

    value: Number
    low: Number | None = None
    high: Number | None = None


@dataclass(frozen=True)
class Section:
    """Rows of a table that share a heading.

    Attributes
    ----------
    heading : keys of the metrics file above the rows, in words; "" at the top level.
    rows : label, and one measurement (or None) for each column.
    """

    heading: str
    rows: list[tuple[str, list[Measurement | None]]]


@dataclass(frozen=True)
class MeasurementTable:
    """Metrics files of the same kind side by side; no sections if nothing was measured."""

    title: str
    about: str
    columns: list[str]
    sections: list[Section] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def tabulate(title: str, about: str, files: Mapping[str, Any | None]) -> MeasurementTable:
    """Make a table of metrics files side by side, with the rows in the order of the keys.

    Parameters
    ----------
    files : content of each file by column name; None where there is no file.
    """
    present = {name: _by_section(content) for name, content in files.items() if content is not None}
    paths = list(dict.fromkeys(path for content in present.values() for path in content))
    sections = [_section(path, [content.get(path, {}) for content in present.values()]) for path in paths]
    return MeasurementTable(title, about, list(present), sections, [name for name in files if name not in present])


def _section(path: Path, columns: list[dict[str, Measurement]]) -> Section:
    """Make a section with the rows of all columns; None where a column has no such row."""
    labels = dict.fromkeys(label for column in columns for label in column)
    rows = [(in_words(label), [column.get(label) for column in columns]) for label in labels]
    return Section(" · ".join(in_words(key) for key in path), rows)


def at(content: Any, path: str) -> Measurement | None:
    """Read a number such as ``"single.interpretable.share"`` of a metrics file, with its interval; None if missing."""
    *sections, key = path.split(".")
    for section in sections:
        content = content.get(section) if isinstance(content, Mapping) else None
    return _folded(_numbers(content)).get(key) if isinstance(content, Mapping) else None


def _by_section(content: Mapping[str, Any]) -> dict[Path, dict[str, Measurement]]:
    """Collect the numbers of a metrics file by the keys above them, with their intervals."""
    return {path: measured for path, measured in _levels(content, ()) if measured}


def _levels(content: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, dict[str, Measurement]]]:
    """Yield each level of nested mappings with its numbers; a mapping with one number belongs to the level above."""
    inner = {str(key): value for key, value in content.items() if isinstance(value, Mapping)}
    single = {key: _single_number(value) for key, value in inner.items()}
    joined = {f"{key} {label}": value for key, numbers in single.items() for label, value in numbers.items()}
    yield path, _folded(_numbers(content)) | joined
    for key, value in inner.items():
        if not single[key]:
            yield from _levels(value, (*path, key))


def _single_number(content: Mapping[str, Any]) -> dict[str, Measurement]:
    """Return the number of a mapping that contains only a number and its interval; empty for other mappings."""
    folded = _folded(_numbers(content))
    return folded if len(folded) == 1 and not any(isinstance(value, Mapping) for value in content.values()) else {}


def _numbers(content: Mapping[str, Any]) -> dict[str, Number]:
    return {str(key): value for key, value in content.items() if _is_number(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _folded(numbers: dict[str, Number]) -> dict[str, Measurement]:
    """Join ``x_low`` and ``x_high`` with ``x``, and ``interval_low`` and ``interval_high`` with the number before them."""
    folded: dict[str, Measurement] = {}
    for key, value in numbers.items():
        base = _base(key, list(folded))
        if base is None or not _paired(key, numbers):
            folded[key] = Measurement(value)
        elif key.endswith("_low"):
            folded[base] = Measurement(folded[base].value, value, folded[base].high)
        else:
            folded[base] = Measurement(folded[base].value, folded[base].low, value)
    return folded


def _base(key: str, before: list[str]) -> str | None:
    """Find the number before the end of an interval that it belongs to; None if the key is no such end."""
    name = key.removesuffix("_low").removesuffix("_high")
    if name == key:
        return None
    if name in before:
        return name
    return before[-1] if before and name == "interval" else None


def _paired(key: str, numbers: Mapping[str, Number]) -> bool:
    """Whether both ends of the interval exist."""
    name = key.removesuffix("_low").removesuffix("_high")
    return f"{name}_low" in numbers and f"{name}_high" in numbers


def in_words(key: str) -> str:
    """Format a key of a metrics file as a label: ``r2_median`` becomes "R² median"."""
    return " ".join("R²" if word == "r2" else word for word in key.replace("_", " ").split(" "))
