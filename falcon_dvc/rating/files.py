"""The files around a rating sheet: the key, which says which list is whose, and the answers that raters send back."""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from falcon_dvc.errors import UserError
from falcon_dvc.rating.sheet import NONE, SURE, letters

OWN = "explanation"  # the method that is judged: the feature's own words
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
Fingerprint = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Strict(BaseModel):
    """Exact types and no unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Listed(Strict):
    """A list of words on the sheet, and the method that it comes from."""

    method: str
    words: tuple[str, ...]


class Asked(Strict):
    """A question and what is behind its lists, in the order shown."""

    question: str
    encoder: str
    group: str
    lists: tuple[Listed, ...] = Field(min_length=1)


class Frame(Strict):
    """The features of an encoder from which the questions were drawn."""

    features: int
    without_words: int


class Key(Strict):
    """``key.json``."""

    sheet: Fingerprint
    methods: tuple[str, ...] = Field(min_length=1)
    encoders: dict[str, Frame]
    questions: tuple[Asked, ...] = Field(min_length=1)


class Answer(Strict):
    """What a rater chose: the letter of a list, or none."""

    question: str
    choice: str
    confidence: Annotated[int, Field(ge=SURE[0], le=SURE[-1])] | None


class Answers(Strict):
    """The file of one rater."""

    sheet: str
    rater: Name
    answers: tuple[Answer, ...] = Field(min_length=1)


Content = TypeVar("Content", bound=BaseModel)


def read_key(path: Path) -> Key:
    """Read the key of a sheet.

    Raises
    ------
    UserError
        If it is missing, or is no key.
    """
    key = _read(path, Key, "run `python -m stages study make` to make a sheet with its key")
    if key.methods[0] != OWN:
        raise UserError(
            f"{path}: methods: the first must be '{OWN}'; run `python -m stages study make` to make it again"
        )
    for asked in key.questions:
        if sorted(some.method for some in asked.lists) != sorted(key.methods):
            raise UserError(f"{path}: {asked.question}: its lists are not those of {', '.join(key.methods)}")
    return key


def read_answers(paths: Sequence[Path], key: Key) -> list[Answers]:
    """Read the answers of all raters, in the order of their names.

    Raises
    ------
    UserError
        One line that names the first file that is not an answers file of this sheet, or whose rater has sent another.
    """
    given: dict[str, tuple[Path, Answers]] = {}
    for path in paths:
        answers = _read(path, Answers, "give the file that the sheet's download button saved")
        problem = next(_problems(answers, key), "")
        if problem:
            raise UserError(f"{path}: {problem}")
        known = " ".join(answers.rater.casefold().split())
        if known in given:
            raise UserError(
                f"{path}: the rater {reprlib.repr(answers.rater)} has also sent {given[known][0]}; give one of the two"
            )
        given[known] = path, answers
    return [given[name][1] for name in sorted(given)]


def _read(path: Path, kind: type[Content], otherwise: str) -> Content:
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: not readable: {error.strerror}; {otherwise}") from error
    except ValidationError as error:
        raise UserError(f"{path}: {_one_line(error)}; {otherwise}") from error


def _one_line(error: ValidationError) -> str:
    """The first problem: where, and what."""
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(reprlib.repr(part).strip("'") for part in first["loc"])
    return " ".join(f"{place}: {first['msg']}".removeprefix(": ").split())


def _problems(answers: Answers, key: Key) -> Iterator[str]:
    """What is wrong with answers of the right form."""
    if answers.sheet != key.sheet:
        yield (
            f"answers the sheet {reprlib.repr(answers.sheet[:12])}, but the key is that of {key.sheet[:12]}; "
            "put the key.json of its sheet into reports/study"
        )
    choices = {asked.question: [*letters(len(asked.lists)), NONE] for asked in key.questions}
    for name, times in Counter(answer.question for answer in answers.answers).items():
        if name not in choices:
            yield f"there is no question {reprlib.repr(name)} on the sheet; it has q1 to q{len(choices)}"
        if times > 1:
            yield f"{name} is answered {times} times; keep one answer"
    for answer in answers.answers:
        if answer.choice not in choices[answer.question]:
            known = ", ".join(choices[answer.question])
            yield f"{answer.question}: there is no choice {reprlib.repr(answer.choice)}; known are: {known}"
