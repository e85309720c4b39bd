"""Write the set of words that explains a feature as a sentence: ``blue or purple, and water, not sand (R² 0.61)``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Bool

OTHER = {"and": "or", "or": "and"}
DIRECTIONS = {1: "raises", -1: "lowers"}  # names in the tables
SEPARATOR = "; "
SET_COLUMNS = ("words", "not_words", "directions", "gains", "gains_low", "gains_high")  # that `words_of_set` reads


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
    # A cell that starts with "-" was escaped by an apostrophe.
    numbers = (map(float, entries(row[f"gains{end}"].lstrip("'"))) for end in ("", "_low", "_high"))
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
    together: Bool[np.ndarray, "words words"] | Sequence[Sequence[bool]],
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


def _joined(words: Sequence[str], places: list[int], together: Sequence, depth: int) -> str:
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


def _linked(places: list[int], together: Sequence, relation: str) -> list[list[int]]:
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
