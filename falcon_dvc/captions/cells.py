"""Turn the cells of tables and the values of JSON objects into captions: a text, or a list of texts."""

import ast
import json
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from falcon_dvc.captions.corpus_file import as_text
from falcon_dvc.captions.names import known_name

LIST_IN_TEXT = ('["', "['", "[]")  # how the text of a list of texts begins


@dataclass
class Texts:
    """Captions of consecutive rows, of which a row may have several.

    Attributes
    ----------
    texts : list of str or None
        None for a row without a caption.
    rows : list of int
        The row of each text, counted from the first one.
    ids : list
        The id of each text in its file; None for none.
    count : int
        Number of rows.
    """

    texts: list[str | None] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    ids: list[object] = field(default_factory=list)
    count: int = 0

    def add(self, value: object, key: object = None) -> None:
        """Add the captions of the next row."""
        texts = [None] if value is None else texts_of(value)
        self.texts += texts
        self.rows += [self.count] * len(texts)
        self.ids += [key] * len(texts)
        self.count += 1

    def rows_of_several(self) -> np.ndarray | None:
        """Return the row of each text; None if every row has one text."""
        return None if len(self.texts) == self.count else np.array(self.rows, dtype=np.int64)


def texts_of(value: object) -> list[str | None]:
    """Return the captions of a cell, at least one: None for a missing one.

    A list has the captions of its items, and an object those of its first key among `NAMES`, or of all its keys if these
    are numbers.

    Raises
    ------
    TypeError
        If a value is neither text, number, list, nor such an object.
    """
    if isinstance(value, list):
        return [text for item in value for text in texts_of(item)] or [None]
    if isinstance(value, dict):
        return _texts_of_object(value)
    return [as_text(value)]


def _texts_of_object(fields: dict) -> list[str | None]:
    key = known_name(map(str, fields))
    if key:
        return texts_of(fields[key[0]])
    if fields and all(str(name).isdecimal() for name in fields):
        return texts_of(list(fields.values()))
    raise TypeError(
        f"a caption must be text, not an object with the keys {', '.join(map(str, fields))[:100] or 'none'}"
    )


def unpacked(text: object) -> object:
    """Return the list that a text spells in JSON or Python, as tables of text hold lists; else the cell itself."""
    if not isinstance(text, str) or not text.startswith(LIST_IN_TEXT) or not text.endswith("]"):
        return text
    for read in (json.loads, ast.literal_eval):
        try:
            items = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            return items
    return text


def several(columns: Iterable[object]) -> list:
    """Join the cells of several columns of a row; missing ones are left out."""
    return [text for value in columns for text in texts_of(value) if text]
