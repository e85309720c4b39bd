"""Choose the column of a table, or the key of a JSON object, that holds the captions."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice

from falcon_dvc.errors import UserError

# Names of columns with captions in released corpora, in the order in which they are preferred.
NAMES = (
    *("caption", "captions", "text", "txt", "sentence", "sentences", "sentences_raw", "raw", "caption_str"),
    *("comment", "phrase", "alt_text", "alt", "description", "prompt", "title"),
)
MOST_NAMES = 1000  # of which captions are found; a later column must be named
RULE = "data.caption_column"
ABOUT_A_CAPTION = re.compile(r"(id|ids|key|no|number|num|index|idx|url|lang|language|len|length|count|score|source)$")
NUMBERED = re.compile(r"(.*?)_?[0-9]+")


def chosen_columns(path: str, names: Sequence[str], column: str) -> list[str]:
    """Return the requested column, or the one or more that hold captions by their names.

    Without a request, the first of these rules that applies decides. Names are compared without regard to case.

    1. The first of `NAMES` that is a column.
    2. The only column whose name contains ``caption`` and is not about a caption, such as ``caption_id``.
    3. All columns whose names are one of `NAMES` and a number, such as ``caption_0`` to ``caption_4``.
    4. The only column.

    Raises
    ------
    UserError
        If there is none, or if it occurs twice.
    """
    only = list(names) if len(names) == 1 else []
    chosen = [name for name in names if name == column][:1] if column else known_columns(names) or only
    if not chosen:
        wanted = column or "of captions"
        raise UserError(f"data.captions: {path} has no column {wanted}; set {RULE} to one of: {listed(names)}")
    if list(names).count(chosen[0]) > 1:
        raise UserError(f"data.captions: {path} has several columns {chosen[0]}; set {RULE} to another")
    return chosen


def known_columns(names: Sequence[str]) -> list[str]:
    """Return the columns that hold captions by their names (rules 1 to 3 of `chosen_columns`); none if no rule applies."""
    names = names[:MOST_NAMES]
    return known_name(names) or _containing(names) or _numbered(names)


def known_name(names: Iterable[str]) -> list[str]:
    """Return the first of `NAMES` that is a column, spelled as in `NAMES` if there are several spellings."""
    return list(_known_name(tuple(islice(names, MOST_NAMES))))


@lru_cache(1024)  # the objects of a JSON file have the same keys
def _known_name(names: tuple[str, ...]) -> list[str]:
    spellings = {name: plain(name) for name in names}
    for known in NAMES:
        found = [name for name, spelling in spellings.items() if spelling == known]
        if found:
            return [known] if known in found else found[:1]
    return []


def plain(name: str) -> str:
    """Return a name in lower case, with one kind of separator between words."""
    return re.sub(r"[\s\-_]+", "_", str(name).strip(" \ufeff\"'\t\r\n")).casefold()


def _containing(names: Sequence[str]) -> list[str]:
    found = [name for name in names if "caption" in plain(name) and not ABOUT_A_CAPTION.search(plain(name))]
    return found if len(found) == 1 else []


def _numbered(names: Sequence[str]) -> list[str]:
    """Return the columns of the most frequent numbered name."""
    stems = {name: match[1] for name in names if (match := NUMBERED.fullmatch(plain(name))) and match[1] in NAMES}
    if not stems:
        return []
    stem = Counter(stems.values()).most_common(1)[0][0]
    return [name for name in names if stems.get(name) == stem]


def listed(names: Sequence[str]) -> str:
    """Return the first names on one line, for a message."""
    return " ".join(", ".join(map(str, names[:20])).split())[:300] or "none"
