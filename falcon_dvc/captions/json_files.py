"""Read captions from JSON: lines of objects, and documents such as those of COCO, nocaps, TextCaps and Visual Genome."""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import TypeGuard

import numpy as np

from falcon_dvc.captions.cells import Texts
from falcon_dvc.captions.corpus_file import ROWS_AT_ONCE, Batch, decoded, in_batches, short_lines
from falcon_dvc.captions.dialects import NAMED
from falcon_dvc.captions.names import chosen_columns, known_columns, plain
from falcon_dvc.captions.tables import FilesWithColumns, batch_of
from falcon_dvc.captions.text_file import opened
from falcon_dvc.errors import UserError, one_line

MAX_OBJECT_BYTES = 16 << 20  # of a line
MAX_DOCUMENT_BYTES = 2 << 30
# Keys whose values hold the objects with captions, in the order in which they are preferred.
CONTAINERS = ("annotations", "data", "images", "regions", "sentences", "captions", "rows", "row", "items", "samples")


class JsonFiles(FilesWithColumns):
    """Files of JSON. The contents decide whether a file has one object a line or is a document."""

    unit = "entries"

    def batches(self) -> Iterator[Batch]:
        """Yield the captions of all lines or objects; an empty line, or an object without the key, is a missing one.

        Captions of a document have ids if all objects of the first file have a whole number as ``id``.

        Raises
        ------
        UserError
            If a file is missing, is not JSON, or holds no captions.
        """
        with_ids: bool | None = None
        for number, path in enumerate(self.files):
            if has_lines(path):
                yield from _batches_of_lines(number, path, self._column)
            else:
                found, undecodable = _document(path, self._column)
                with_ids = _have_ids(found) if with_ids is None else with_ids
                yield from _batches_of_document(number, path, found, undecodable, with_ids)


def has_lines(path: str) -> bool:
    """Return whether the first line with letters is complete JSON, and not the only one."""
    with opened(path) as file:
        lines = (line for line in short_lines(file, MAX_OBJECT_BYTES) if line.strip())
        first = next(lines, b"")
        return _is_json(first) and next(lines, None) is not None


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return False
    return True


def _batches_of_lines(number: int, path: str, column: str) -> Iterator[Batch]:
    row = 0
    with opened(path) as file:
        for raw in in_batches(short_lines(file, MAX_OBJECT_BYTES), ROWS_AT_ONCE, len):
            lines, undecodable = decoded(raw)
            objects = [_value(path, row + place, line or "") for place, line in enumerate(lines)]
            column = column or _column(path, objects)
            texts = Texts()
            for place, value in enumerate(objects):
                _add(texts, path, row + place, value, column)
            yield batch_of(number, row, texts, undecodable)
            row += len(raw)


def _value(path: str, row: int, line: str) -> object:
    """Parse one line: an object, a text, or None for an empty line."""
    if not line.strip():
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = one_line(error, 120)
        raise UserError(
            f"data.captions: {path}, line {row + 1}: not valid JSON ({reason}); give one object a line"
        ) from error
    if not isinstance(value, dict | str):
        raise UserError(f"data.captions: {path}, line {row + 1}: not a JSON object; give one object a line")
    return value


def _column(path: str, objects: list) -> str:
    """Choose the key by the first object; "" if there is none."""
    first = next((value for value in objects if isinstance(value, dict) and value), None)
    if first is None:
        return ""
    inner = container_of(first)
    return (known_columns(list(first)) or (inner and [inner]) or chosen_columns(path, list(first), ""))[0]


def _add(texts: Texts, path: str, row: int, value: object, column: str) -> None:
    """Add the captions of one line."""
    try:
        texts.add(value.get(column) if isinstance(value, dict) else value)
    except TypeError as error:
        raise UserError(f"data.captions: {path}, line {row + 1}: {error}; set data.caption_column") from error


class _Walk:
    """The captions of a document.

    Parameters
    ----------
    column : str
        The key of the captions; "" to choose it by its name.

    Attributes
    ----------
    found : Texts
        One row for each object with captions, or without any that could have them.
    keys : list of str
        The keys of the first object without captions.
    """

    def __init__(self, column: str) -> None:
        self._column = column
        self.found = Texts()
        self.keys: list[str] = []

    def key_of(self, fields: dict) -> str | None:
        """Return the key of the captions of an object."""
        if self._column:
            return self._column if self._column in fields else None
        return _known_key(tuple(fields))

    def visit_document(self, value: object) -> None:
        """Add the captions of a document. If it is one object, a list in it is a column with a caption a row."""
        key = self.key_of(value) if isinstance(value, dict) else None
        column = value[key] if isinstance(value, dict) and key is not None else value
        self.visit(list(column.values()) if _is_column(column) else column)

    def visit(self, value: object) -> None:
        """Add the captions of a value: a text, a list of values, or an object."""
        if isinstance(value, list):
            for item in value:
                self.visit(item)
        elif isinstance(value, dict):
            self._visit_object(value)
        elif value is None or isinstance(value, str):
            self.found.add(value)
        else:
            raise TypeError(f"a caption must be text, not {type(value).__name__}")

    def _visit_object(self, fields: dict) -> None:
        key = self.key_of(fields)
        if key is not None and not _holds_objects(fields[key]):
            self.found.add(fields[key], fields.get("id"))
        elif (inner := key or container_of(fields)) is not None:
            self.visit(fields[inner])
        elif _is_mapping(fields):
            for texts in fields.values():
                self.found.add(texts)
        elif lists := [value for value in fields.values() if _holds_objects(value)]:
            self.visit(lists)
        else:
            self.keys = self.keys or [str(name) for name in fields]
            self.found.add(None, fields.get("id"))


@lru_cache(1024)
def _known_key(names: tuple[str, ...]) -> str | None:
    return next(iter(known_columns(names)), None)


def container_of(fields: dict) -> str | None:
    """Return the first of `CONTAINERS` that an object has."""
    return next((name for name in CONTAINERS if isinstance(fields.get(name), list | dict)), None)


def _is_column(value: object) -> TypeGuard[dict]:
    """Return whether a value is a column as pandas writes it: an object whose keys are numbers of rows."""
    return isinstance(value, dict) and bool(value) and all(name.isdecimal() for name in value)


def _holds_objects(value: object) -> bool:
    """Return whether a value is a list of objects, such as those of one split of a data set."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _is_mapping(fields: dict) -> bool:
    """Return whether an object lists captions by the names or numbers of images."""
    listed = [value if isinstance(value, list) else [value] for value in fields.values()]
    named = all(isinstance(value, list) for value in fields.values()) or all(NAMED.match(name) for name in fields)
    return bool(fields) and named and all(isinstance(text, str) for texts in listed for text in texts)


def _document(path: str, column: str) -> tuple[Texts, int]:
    """Read a whole file; return its captions, and how many have bytes that are not UTF-8."""
    text, replaced = _read(path)
    walk = _Walk(column)
    try:
        for value in _values(text, column):
            walk.visit_document(value)
    except (ValueError, RecursionError) as error:
        reason = one_line(error, 120)
        raise UserError(f"data.captions: {path} is not readable JSON ({reason})") from error
    except TypeError as error:
        raise UserError(f"data.captions: {path}: {error}; set data.caption_column") from error
    if walk.keys and not any(walk.found.texts):
        chosen_columns(path, walk.keys, column)
    return walk.found, sum("\ufffd" in (text or "") for text in walk.found.texts) if replaced else 0


def _read(path: str) -> tuple[str, int]:
    """Read a whole file; return its text, and 1 if it is not UTF-8, else 0.

    Raises
    ------
    UserError
        If it is too large.
    """
    with opened(path) as file:
        content = file.read(MAX_DOCUMENT_BYTES + 1)
    if len(content) > MAX_DOCUMENT_BYTES:
        raise UserError(
            f"data.captions: {path} has more than {MAX_DOCUMENT_BYTES >> 30} GiB of JSON; write one object a line (.jsonl)"
        )
    (text,), replaced = decoded([content])
    return (text or "").lstrip("\ufeff"), replaced


def _values(text: str, column: str) -> Iterator[object]:
    """Parse a text, which may hold several values one after the other."""
    decoder = json.JSONDecoder(object_hook=lambda fields: _relevant(fields, column))
    place = _after_space(text, 0)
    while place < len(text):
        value, end = decoder.raw_decode(text, place)
        yield value
        place = _after_space(text, end)


def _after_space(text: str, place: int) -> int:
    while text[place : place + 1].isspace():
        place += 1
    return place


def _relevant(fields: dict, column: str) -> dict:
    """Return the fields that lead to captions, so that the others take no memory; all fields if there are none."""
    kept = _relevant_keys(tuple(fields), column)
    return {name: fields[name] for name in kept} if kept else fields


@lru_cache(1024)
def _relevant_keys(names: tuple[str, ...], column: str) -> list[str]:
    wanted = {column, "id", *known_columns(names), *CONTAINERS}
    kept = [name for name in names if name in wanted or "caption" in plain(name)]
    return [] if kept == ["id"] else kept


def _have_ids(found: Texts) -> bool:
    return bool(found.ids) and all(type(key) is int and abs(key) < 2**63 for key in found.ids)


def _batches_of_document(number: int, path: str, found: Texts, undecodable: int, with_ids: bool) -> Iterator[Batch]:
    if with_ids and found.ids and not _have_ids(found):
        raise UserError(f"data.captions: {path}: an entry has no whole number as id, but those of the first file have")
    several = found.rows_of_several() is not None
    for start in range(0, len(found.texts), ROWS_AT_ONCE):
        block = slice(start, start + ROWS_AT_ONCE)
        rows = np.array(found.rows[block], dtype=np.int64) if several else None
        ids = np.array(found.ids[block], dtype=np.int64) if with_ids else None
        yield Batch(number, start, found.texts[block], 0 if start else undecodable, ids, rows)
