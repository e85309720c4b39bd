"""Write the set of words that explains a feature as a sentence: ``blue or purple, and water, not sand (R² 0.61)``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isnan
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Bool

    Relation = Bool[np.ndarray, "words words"]

OTHER = {"and": "or", "or": "and"}
DIRECTIONS = {1: "raises", -1: "lowers"}  # names in the tables
SEPARATOR = "; "
SET_COLUMNS = ("words", "not_words", "directions", "gains", "gains_low", "gains_high")  # that `words_of_set` reads
AND = " & "  # between the words of a pair of features in the tables
CONJUNCTION, COFIRING = "conjunction", "cofiring"  # how pairs are chosen
PAIR_COLUMNS = (
    *("choice", "first", "second", "first_words", "label", "two_words"),
    *("gain", "gain_low", "gain_high", "beats_best_member", "control_same_words_gain"),
)


@dataclass(frozen=True)
class Together:
    """What a pair of features follows together.

    Attributes
    ----------
    first, second : names of the features.
    text : ``f12 and f40 together: striped and boat; alone: striped, boat``.
    gain, low, high : gain of the pair over its best member, with the interval.
    control : gain of the first feature with a random partner and the same words; NaN if it has no other partner.
    new : whether two words name it, and it follows them better than each of its members does.
    """

    first: str
    second: str
    text: str
    gain: float
    low: float
    high: float
    control: float
    new: bool

    @property
    def of_gain(self) -> str:
        """Say what the pair gains, and whether its words are a new conjunction."""
        control = "" if isnan(self.control) else f", with a random partner and the same words {self.control:.2f}"
        verdict = "a new conjunction" if self.new else "no new conjunction"
        return f"gain over the best member {self.gain:.2f} ({self.low:.2f} to {self.high:.2f}){control}: {verdict}"


def together(row: Mapping[str, Any]) -> Together:
    """Read a row of ``NAME_pairs.csv``."""
    label, alone = " and ".join(row["label"].split(AND)), ", ".join(row["first_words"].split(AND))
    text = f"{row['first']} and {row['second']} together: {label}; alone: {alone}"
    gain, low, high, control = (
        float(row[name] if row[name] != "" else "nan")
        for name in ("gain", "gain_low", "gain_high", "control_same_words_gain")
    )
    new = bool(row["two_words"]) and bool(row["beats_best_member"])
    return Together(row["first"], row["second"], text, gain, low, high, control, new)


def pairs_of(rows: Iterable[Mapping[str, Any]], members: str) -> list[Together]:
    """Read what is known of a feature or group: the conjunction that a feature belongs to, or what a pair follows.

    Parameters
    ----------
    rows : of ``NAME_pairs.csv``.
    members : numbers of the features, ``"12 40"``.
    """
    features = {f"f{member}" for member in members.split()}
    choice = CONJUNCTION if len(features) == 1 else COFIRING
    some = [row for row in rows if row["choice"] == choice]
    return [together(row) for row in some if features <= {row["first"], row["second"]}]


@dataclass(frozen=True)
class SetWord:
    """A word of a set: what it adds to R² after the words before it, with the interval.

    Attributes
    ----------
    raises : whether the word raises the feature; otherwise it lowers it.
    """

    word: str
    raises: bool
    gain: float
    low: float
    high: float


def words_of_set(row: Mapping[str, Any]) -> list[SetWord]:
    """Read the words of a row of ``NAME_word_sets.csv``: those that raise the feature, then those that lower it."""
    words = [*entries(row["words"]), *entries(row["not_words"])]
    raises = [direction == DIRECTIONS[1] for direction in entries(row["directions"])]
    # A cell that starts with "-" was escaped by an apostrophe. A column with one number in each cell is read as numbers.
    numbers = (map(float, entries(str(row[f"gains{end}"]).lstrip("'"))) for end in ("", "_low", "_high"))
    return [SetWord(*values) for values in zip(words, raises, *numbers, strict=True)]


def listed(words: Iterable[str]) -> str:
    """List words in a cell of a table, as `words_of_set` reads them."""
    return SEPARATOR.join(word.replace(";", ",") for word in words)


def entries(cell: str) -> list[str]:
    """Read the entries of a cell that `listed` wrote."""
    return [entry for entry in cell.split(SEPARATOR) if entry]


def sentence(
    words: Sequence[str],
    opposed: Sequence[str],
    together: Relation,
    r2: float,
) -> str:
    """Write words with their relations as a sentence; "" without words.

    Parameters
    ----------
    words : words that raise the feature, the best first.
    opposed : words that lower it; written after "not".
    together : whether two of `words` raise the feature only together ("and"), and not each by itself ("or"); symmetric.
    r2 : R² of the words on held-out images; it is left out if it is NaN.
    """
    parts = [_joined(words, list(range(len(words))), together, 0)] if len(words) else []
    text = ", ".join([*parts, *(f"not {word}" for word in opposed)])
    return f"{text} (R² {r2:.2f})" if text and r2 == r2 else text


def _joined(words: Sequence[str], places: list[int], together: Relation, depth: int) -> str:
    """Join the words at some places.

    Words that "or" does not link are joined by "and", and the other way round. Of words that both link, all are joined by
    "or": no sentence says their relations exactly.
    """
    for link in OTHER:
        parts = _linked(places, together, OTHER[link])
        if len(parts) > 1:
            texts = [_joined(words, part, together, depth + 1) for part in parts]
            return _listed(texts, link, depth, compound=len(parts) < len(places))
    return " or ".join(words[place] for place in places)


def _linked(places: list[int], together: Relation, relation: str) -> list[list[int]]:
    """Divide places into those that one relation links, directly or through others; in order of their first places."""
    parts: list[list[int]] = []
    for place in places:
        near = [part for part in parts if any(bool(together[place][other]) == (relation == "and") for other in part)]
        parts = [part for part in parts if part not in near]
        parts = sorted([*parts, sorted([place, *chain.from_iterable(near)])])
    return parts


def _listed(texts: list[str], link: str, depth: int, compound: bool) -> str:
    """Join texts: a comma divides those of several words, and brackets hold what is inside of these."""
    text = f"{', ' if compound and not depth else ' '}{link} ".join(texts)
    return f"({text})" if depth > 1 else text
