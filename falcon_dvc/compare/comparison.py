"""Differences between two revisions: params, metrics with their intervals, and the concepts of features."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pandas as pd

from falcon_dvc.compare.rankings import average_overlap
from falcon_dvc.html.measurements import Measurement, in_words, tabulate

Verdict = Literal["beyond", "bare", "noise", "new", "gone"]
COLUMNS = ("group", "members", "words")  # compared columns of a table of concepts


@dataclass(frozen=True)
class ParamChange:
    """A parameter that differs; None if a revision does not have it."""

    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True)
class MetricChange:
    """A number that differs; None if a revision does not have it."""

    file: str
    heading: str
    label: str
    old: Measurement | None
    new: Measurement | None

    @property
    def difference(self) -> int | float | None:
        return None if self.old is None or self.new is None else self.new.value - self.old.value

    @property
    def verdict(self) -> Verdict:
        """Noise if each value lies within the other's interval; bare if a value has none."""
        if self.old is None or self.new is None:
            return "new" if self.old is None else "gone"
        if not (_has_interval(self.old) and _has_interval(self.new)):
            return "bare"
        return "noise" if _within(self.old, self.new) and _within(self.new, self.old) else "beyond"


def _has_interval(measurement: Measurement) -> bool:
    return measurement.low is not None and measurement.high is not None


def _within(measurement: Measurement, other: Measurement) -> bool:
    """Whether a value is within the interval of another, ends included."""
    return other.low is not None and other.high is not None and other.low <= measurement.value <= other.high


def changed_params(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[ParamChange]:
    """List the parameters that differ, by their dotted names."""
    from dvc.utils.flatten import flatten

    before, after = ({str(key): _written(value) for key, value in flatten(params).items()} for params in (old, new))
    names = sorted(before.keys() | after.keys())
    changes = [ParamChange(name, before.get(name), after.get(name)) for name in names]
    return [change for change in changes if change.old != change.new]


def _written(value: Any) -> str:
    """Format a value as in params.yaml."""
    return (
        {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)
    )


def compared_metrics(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[list[MetricChange], int]:
    """List the numbers that differ, in the order of the files and keys, and count those that are equal.

    Parameters
    ----------
    old, new : content of each metrics file by its name.
    """
    rows = [row for name in sorted(old.keys() | new.keys()) for row in _numbers(name, old.get(name), new.get(name))]
    changes = [row for row in rows if row.old is None or row.new is None or row.old.value != row.new.value]
    return changes, len(rows) - len(changes)


def _numbers(name: str, old: Any, new: Any) -> list[MetricChange]:
    """List all numbers of a metrics file at both revisions."""
    sides = {side: content if isinstance(content, dict) else {} for side, content in (("old", old), ("new", new))}
    sections = tabulate(name, "", sides).sections
    return [
        MetricChange(in_words(name), section.heading, label, *cells)
        for section in sections
        for label, cells in section.rows
    ]


@dataclass(frozen=True)
class Word:
    """A kept word of a feature with its score."""

    concept: str
    score: float


@dataclass(frozen=True)
class FeatureChange:
    """A feature, or a group of features, whose ranked list of kept words differs.

    Attributes
    ----------
    change : 1 - average overlap of the two lists: 0 to 1.
    close : whether the scores of the first words are within each other's intervals at both revisions; None if unknown.
    pictures : URIs of its highly activating crops at each revision.
    """

    encoder: str
    group: str
    members: str
    old: list[Word]
    new: list[Word]
    change: float
    close: bool | None = None
    pictures: tuple[list[str], list[str]] = field(default=([], []))

    @property
    def first_changed(self) -> bool:
        return _first(self.old) != _first(self.new)


def _first(words: list[Word]) -> str:
    return words[0].concept if words else ""


@dataclass(frozen=True)
class EncoderComparison:
    """Features of one encoder at both revisions, matched by group.

    Attributes
    ----------
    changes : groups whose first word changed, then the others; each by the size of the change.
    same : number of groups with the same words.
    appeared, gone : groups that only the new revision has, and only the old one.
    missing : revisions without a table of this encoder's concepts.
    inputs : inputs of the activations that differ; then a feature's number may refer to another feature.
    """

    name: str
    changes: list[FeatureChange]
    same: int
    appeared: list[str]
    gone: list[str]
    missing: list[str]
    inputs: list[str]

    @property
    def first_changed(self) -> int:
        return sum(change.first_changed for change in self.changes)

    @property
    def close(self) -> int:
        return sum(change.close is True for change in self.changes if change.first_changed)

    @property
    def close_known(self) -> bool:
        return any(change.close is not None for change in self.changes if change.first_changed)


def read_concepts(text: str) -> pd.DataFrame | None:
    """Read groups with their words from the text of a table of concepts; None if it is not such a table."""
    try:
        table = pd.read_csv(io.StringIO(text), keep_default_na=False, dtype=str)
    except ValueError:  # the base class of pandas' errors
        return None
    if not set(COLUMNS) <= set(table.columns) or table["group"].duplicated().any():
        return None
    return table[list(COLUMNS)]


def words_of(cell: str) -> list[Word]:
    """Read the words of a cell such as ``boat:0.91; ship:0.40``."""
    return [word for text in cell.removeprefix("'").split("; ") if (word := _word(text))]


def _word(text: str) -> Word | None:
    concept, colon, score = text.rpartition(":")
    try:
        return Word(concept, float(score)) if colon else None
    except ValueError:
        return None


def compared_encoder(
    name: str,
    tables: tuple[pd.DataFrame | None, pd.DataFrame | None],
    revisions: tuple[str, str],
    inputs: Iterable[str],
) -> EncoderComparison:
    """Compare the tables of an encoder's concepts; without one of the tables there are no changes."""
    missing = [revision for revision, table in zip(revisions, tables, strict=True) if table is None]
    if tables[0] is None or tables[1] is None:
        return EncoderComparison(name, [], 0, [], [], missing, list(inputs))
    old, new = ({row.group: row for row in table.itertuples(index=False)} for table in tables if table is not None)
    both = [group for group in old if group in new]
    pairs = [_feature(name, old[group], new[group]) for group in both]
    changes = [pair for pair in pairs if _texts(pair.old) != _texts(pair.new)]
    ordered = sorted(changes, key=lambda pair: (not pair.first_changed, -round(pair.change, 9)))
    appeared, gone = [group for group in new if group not in old], [group for group in old if group not in new]
    return EncoderComparison(name, ordered, len(both) - len(changes), appeared, gone, missing, list(inputs))


def _feature(encoder: str, old: Any, new: Any) -> FeatureChange:
    before, after = words_of(old.words), words_of(new.words)
    change = 1 - average_overlap(_texts(before), _texts(after))
    return FeatureChange(encoder, old.group, old.members, before, after, change)


def _texts(words: list[Word]) -> list[str]:
    return [word.concept for word in words]


def with_close_call(
    change: FeatureChange, old: Mapping[str, Measurement], new: Mapping[str, Measurement]
) -> FeatureChange:
    """Add whether the first words are a close call: at both revisions, each could be the first.

    Parameters
    ----------
    old, new : score and interval of each word of the feature that a revision lists.
    """
    names = _first(change.old), _first(change.new)
    return replace(change, close=all(_tied(names, scores) for scores in (old, new)))


def _tied(names: tuple[str, str], scores: Mapping[str, Measurement]) -> bool:
    """Whether two words are listed, and the score of each is within the interval of the other."""
    first, second = (scores.get(name) for name in names)
    return first is not None and second is not None and _within(first, second) and _within(second, first)
