"""The files of a rating sheet: the key, which names the method of each list, and the answers of the raters."""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from falcon_dvc.errors import UserError
from falcon_dvc.rating.sheet import CONFIDENCE_LEVELS, NONE, letters

OWN = "explanation"  # the evaluated method: the feature's own words
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
Fingerprint = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Strict(BaseModel):
    """A model with exact types that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class WordList(Strict):
    """A list of words on the sheet, and the method that made it."""

    method: str
    words: tuple[str, ...]


class KeyQuestion(Strict):
    """A question of the key: its feature, and its lists in the order shown."""

    question: str
    encoder: str
    group: str
    lists: tuple[WordList, ...] = Field(min_length=1)


class SamplingFrame(Strict):
    """Counts of the features of an encoder from which the questions were drawn."""

    features: int
    without_words: int


class Key(Strict):
    """Content of ``key.json``."""

    sheet: Fingerprint
    methods: tuple[str, ...] = Field(min_length=1)
    encoders: dict[str, SamplingFrame]
    questions: tuple[KeyQuestion, ...] = Field(min_length=1)


class Answer(Strict):
    """The choice of a rater in one question: the letter of a list, or none."""

    question: str
    choice: str
    confidence: Annotated[int, Field(ge=CONFIDENCE_LEVELS[0], le=CONFIDENCE_LEVELS[-1])] | None


class Answers(Strict):
    """Content of the answers file of one rater."""

    sheet: str
    rater: Name
    answers: tuple[Answer, ...] = Field(min_length=1)


Content = TypeVar("Content", bound=BaseModel)


def read_key(path: Path) -> Key:
    """Read the key of a sheet.

    Raises
    ------
    UserError
        If the file is missing or is not a key.
    """
    key = _read(path, Key, "run `falcon rating make` to write a sheet with its key")
    if key.methods[0] != OWN:
        raise UserError(f"{path}: methods: the first must be '{OWN}'; run `falcon rating make` to write it again")
    for question in key.questions:
        if sorted(words.method for words in question.lists) != sorted(key.methods):
            raise UserError(f"{path}: {question.question}: its lists are not those of {', '.join(key.methods)}")
    return key


def read_answers(paths: Sequence[Path], key: Key) -> list[Answers]:
    """Read the answers of all raters, in the order of their names.

    Raises
    ------
    UserError
        If a file is not an answers file of this sheet, or two files have the same rater. The message names the first one.
    """
    by_rater: dict[str, tuple[Path, Answers]] = {}
    for path in paths:
        answers = _read(path, Answers, "give the file that the sheet's download button saved")
        problem = next(_problems(answers, key), "")
        if problem:
            raise UserError(f"{path}: {problem}")
        rater = " ".join(answers.rater.casefold().split())
        if rater in by_rater:
            raise UserError(
                f"{path}: the rater {reprlib.repr(answers.rater)} has also sent {by_rater[rater][0]}; give one of the two"
            )
        by_rater[rater] = path, answers
    return [by_rater[name][1] for name in sorted(by_rater)]


def _read(path: Path, kind: type[Content], fix: str) -> Content:
    """Read a JSON file; an error ends with the text `fix`."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: not readable: {error.strerror}; {fix}") from error
    except ValidationError as error:
        raise UserError(f"{path}: {_one_line(error)}; {fix}") from error


def _one_line(error: ValidationError) -> str:
    """Describe the first problem: the place, then the message."""
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(reprlib.repr(part).strip("'") for part in first["loc"])
    return " ".join(f"{place}: {first['msg']}".removeprefix(": ").split())


def _problems(answers: Answers, key: Key) -> Iterator[str]:
    """Yield what contradicts the key in answers of the right form."""
    if answers.sheet != key.sheet:
        yield (
            f"belongs to the sheet {reprlib.repr(answers.sheet[:12])}, but the key belongs to {key.sheet[:12]}; "
            "put the key.json of its sheet into reports/study"
        )
    choices = {question.question: [*letters(len(question.lists)), NONE] for question in key.questions}
    for name, times in Counter(answer.question for answer in answers.answers).items():
        if name not in choices:
            yield f"there is no question {reprlib.repr(name)} on the sheet; it has q1 to q{len(choices)}"
        if times > 1:
            yield f"{name} is answered {times} times; keep one answer"
    for answer in answers.answers:
        if answer.choice not in choices[answer.question]:
            known = ", ".join(choices[answer.question])
            yield f"{answer.question}: there is no choice {reprlib.repr(answer.choice)}; known are: {known}"
