"""Read the numbers of chosen features from a text file, which a profile names."""

import re
import reprlib
from pathlib import Path

from falcon_dvc.errors import UserError
from falcon_dvc.placeholders import refuse_placeholders

NUMBER = re.compile(r"[0-9]{1,9}")


def read_feature_file(path: Path) -> list[int]:
    """Read one feature number a line, in the order of the file. ``#`` starts a comment.

    Raises
    ------
    UserError
        If the file cannot be read, a line is not a number, a number is named twice, or no number is named.
    """
    line_of: dict[int, int] = {}
    for place, line in enumerate(_text(path).splitlines(), start=1):
        number = _number(path, place, line.partition("#")[0].strip())
        if number in line_of:
            raise UserError(f"{path}:{place}: names feature {number} again, as line {line_of[number]} does; delete one")
        if number is not None:
            line_of[number] = place
    if not line_of:
        raise UserError(f"{path}: names no feature; write one feature number a line")
    return list(line_of)


def _text(path: Path) -> str:
    refuse_placeholders([path])
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: not readable: {error.strerror}") from error
    except ValueError as error:  # also a NUL in the path
        raise UserError(f"{path}: not a text file; write one feature number a line") from error


def _number(path: Path, place: int, text: str) -> int | None:
    if not text:
        return None
    if not NUMBER.fullmatch(text):
        raise UserError(f"{path}:{place}: {reprlib.repr(text)} is not a feature number; write one number a line")
    return int(text)
