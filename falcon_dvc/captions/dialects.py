"""Find out how a file of text is a table: what separates its cells, whether it has a header, and which column is the captions."""

import re
from collections import Counter
from collections.abc import Sequence

from falcon_dvc.captions.delimited import IMAGE, MACHINE, Dialect, split
from falcon_dvc.captions.names import NAMES, RULE, chosen_columns, known_columns, known_name, listed, plain
from falcon_dvc.errors import UserError

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
OTHER_SEPARATORS = ("\t", "|", ",", ";")
SAMPLED = 200  # lines that decide the format of a file
NEARLY_ALL = 0.9  # of the sampled lines
FEW = 0.05  # of the sampled lines, with fewer cells by mistake
MANY_WORDS = 4  # of a caption in the first line of a file; the name of a column has fewer
# What stands before a caption: the name of an image, its id on Flickr, a URL, or a long number.
NAMED = re.compile(
    rf'\s*+"?(?:{IMAGE}|[0-9]{{5,}}(?:_[0-9a-f]{{8,}})?|https?://\S+?)(?:#[0-9]+)?"?[ ]{{0,8}}(?:([\t,|; ])[ ]*+(?=\S)|$)',
    re.IGNORECASE,
)


def dialect_of(path: str, lines: Sequence[str], suffix: str, column: str) -> Dialect:
    """Find out how a file that is a table is divided.

    Parameters
    ----------
    path : str
        For messages.
    lines : sequence of str
        Its first lines.
    suffix : str
        Of its name, which tells the usual separator.
    column : str
        Name of the column with captions, or its number from 1 if there is no header; "" to find it.

    Raises
    ------
    UserError
        If no column, or more than one, may hold the captions.
    """
    usual = SEPARATORS.get(suffix)
    order = ([usual] if usual else []) + [separator for separator in OTHER_SEPARATORS if separator != usual]
    sample = [line for line in lines[:SAMPLED] if line.strip()]
    if not sample:
        return Dialect(order[0], False, 1, (0,))
    found = _with_header(path, sample, order, column) or _of_names(path, sample, column)
    return found or _by_contents(path, sample, order, column)


def table_in_text(path: str, lines: Sequence[str], column: str) -> Dialect | None:
    """Find out whether a file of text is a table; return None for a file with one caption a line.

    It is a table if its first line names a column of captions, alone or beside others, if nearly all lines begin with the name of an
    image, a URL or a long number, or if nearly all lines have the same number of tabs.

    Raises
    ------
    UserError
        If it is a table, and no column, or more than one, may hold the captions.
    """
    sample = [line for line in lines[:SAMPLED] if line.strip()]
    if sample and plain(sample[0]) in NAMES:
        return Dialect(",", True, 1, (0,))
    found = _with_header(path, sample, OTHER_SEPARATORS, column, least=2) or _of_names(path, sample, column)
    if found or len(sample) < 2 or _share_of_most_frequent(sample, "\t") < NEARLY_ALL:
        return found
    return _by_contents(path, sample, ("\t",), column)


def _with_header(
    path: str, sample: Sequence[str], separators: Sequence[str], column: str, least: int = 1
) -> Dialect | None:
    """Read the first line as a header, if it names the column of captions and nearly all lines have as many cells."""
    for separator in separators:
        names = _names(sample, separator)
        if len(names) < least or (least > 1 and not _have(sample, separator, len(names))):
            continue
        columns = _named(path, names, column)
        if columns:
            return Dialect(separator, True, len(names), columns)
    return None


def _names(sample: Sequence[str], separator: str) -> list[str]:
    return [cell.strip(" \r\n") for cell in split(sample[0], separator)[0]] if sample else []


def _have(sample: Sequence[str], separator: str, cells: int) -> bool:
    return sum(line.count(separator) >= cells - 1 for line in sample) >= NEARLY_ALL * len(sample)


def _named(path: str, names: Sequence[str], column: str) -> tuple[int, ...]:
    """Return the columns of captions of a header; none if the names do not look like one."""
    if column in names:
        chosen = chosen_columns(path, names, column)
    else:
        chosen = known_name(names) or (known_columns(names) if len(names) > 1 and not _is_data(names) else [])
        if not chosen or (column and not column.isdecimal()):
            return ()
        chosen = [names[_place(path, column, len(names))]] if column else chosen_columns(path, names, "")
    return tuple(names.index(name) for name in chosen)


def _place(path: str, column: str, cells: int) -> int:
    """Return the place of the column that a number from 1 names.

    Raises
    ------
    UserError
        If it is no such number.
    """
    if not column.isdecimal() or not 0 < int(column) <= cells:
        raise UserError(
            f"data.captions: {path} has no column {column} and no header that names one; "
            f"set {RULE} to a number from 1 to {cells}"
        )
    return int(column) - 1


def _of_names(path: str, sample: Sequence[str], column: str) -> Dialect | None:
    """Read lines that begin with the name of an image, a URL or a long number. The first one may be a header.

    Raises
    ------
    UserError
        If they hold nothing else.
    """
    marks = Counter(match[1] for line in sample if (match := NAMED.match(line)))
    if not sample or sum(marks.values()) < NEARLY_ALL * len(sample):
        return None
    separator = marks.most_common(1)[0][0]
    if separator is None:
        raise UserError(
            f"data.captions: {path} holds names of images and no captions; point data.captions at the file with captions"
        )
    cells = 2 if separator == " " else _usual_count(sample, separator)
    header = NAMED.match(sample[0]) is None
    return Dialect(separator, header, cells, (_wordiest(path, sample[header:], separator, cells, column),))


def _by_contents(path: str, sample: Sequence[str], separators: Sequence[str], column: str) -> Dialect:
    """Read a file whose first line names no column of captions: data, or a header of other names."""
    uniform = [separator for separator in separators if _share_of_most_frequent(sample, separator) >= NEARLY_ALL]
    separator = [*uniform, separators[0]][0]
    names = _names(sample, separator)
    if not column.isdecimal() and (column or not _is_data(names)):
        return _of_unknown_names(path, sample, separator, names, column)
    cells = _usual_count(sample, separator)
    return Dialect(separator, False, cells, (_wordiest(path, sample, separator, cells, column),))


def _of_unknown_names(path: str, sample: Sequence[str], separator: str, names: list[str], column: str) -> Dialect:
    """Read a file of one column, whose first line is its name if it is one word and the others have more; refuse others."""
    if len(names) == 1 and not column:
        words = [len(line.split()) for line in sample]
        return Dialect(separator, words[0] == 1 and sum(words[1:]) >= 2 * max(len(words) - 1, 1), 1, (0,))
    raise UserError(
        f"data.captions: {path} has no column {column or 'of captions'}; set {RULE} to one of: {listed(names)}; "
        "or to a number from 1 if its first line is no header"
    )


def _is_data(cells: Sequence[str]) -> bool:
    """Return whether cells are no names of columns: a number, URL or name of an image is among them, or a long text."""
    return any(MACHINE.fullmatch(cell) or len(cell.split()) >= MANY_WORDS for cell in cells)


def _share_of_most_frequent(sample: Sequence[str], separator: str) -> float:
    """Return how many lines have the most frequent number of cells, if it is two or more."""
    counts = Counter(len(split(line, separator)[0]) for line in sample)
    cells, lines = counts.most_common(1)[0] if counts else (0, 0)
    return lines / len(sample) if cells > 1 else 0.0


def _usual_count(sample: Sequence[str], separator: str) -> int:
    """Return the number of cells of a line: the smallest that is not rare, as captions may hold separators."""
    counts = Counter(len(split(line, separator)[0]) for line in sample)
    return min(cells for cells, lines in counts.items() if lines >= FEW * len(sample))


def _wordiest(path: str, sample: Sequence[str], separator: str, cells: int, column: str) -> int:
    """Return the requested column, or the one with the most words; no other may have half as many.

    Raises
    ------
    UserError
        If another has.
    """
    if column:
        return _place(path, column, cells)
    words = _words(sample, separator, cells)
    best, *others = sorted(range(cells), key=lambda place: -words[place])
    if words[best] == 0 or any(2 * words[other] >= words[best] for other in others):
        first = [f"{number} ({cell[:30]})" for number, cell in enumerate(_names(sample, separator), 1)]
        raise UserError(
            f"data.captions: {path} has no header, and no column has by far the most words; "
            f"set {RULE} to the number of a column: {listed(first)}"
        )
    return best


def _words(sample: Sequence[str], separator: str, cells: int) -> list[int]:
    """Count the words of each column; numbers, URLs and names of images are none."""
    words = [0] * cells
    for line in sample:
        parts = line.split(None, 1) if separator == " " else split(line, separator)[0]
        for place, text in enumerate([*parts[: cells - 1], separator.join(parts[cells - 1 :])]):
            words[place] += 0 if MACHINE.fullmatch(text) else len(text.split())
    return words
