"""The rating sheet: one self-contained page that asks people which words fit a feature's pictures, and tells them nothing else."""

import hashlib
import json
import string
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from markupsafe import Markup

from falcon_dvc.html.markup import environment, policy

TEMPLATES = Path(__file__).parent / "templates"
NONE = "none"  # the choice of no list
SURE = range(1, 6)  # how sure a rater can be


@dataclass(frozen=True)
class Question:
    """What a rater sees of a question: nothing in it says which list is whose.

    Attributes
    ----------
    name : ``q1``, ``q2``, ... in the order of the sheet.
    pictures : ``data:`` addresses.
    lists : words of each list, in the order shown.
    """

    name: str
    pictures: list[str]
    lists: list[list[str]]


def letters(count: int) -> list[str]:
    """Names of the lists of a question: A, B, C, ..."""
    return list(string.ascii_uppercase[:count])


def fingerprint(questions: Sequence[Question]) -> str:
    """SHA-256 of everything that is asked: answers to one sheet cannot be taken for answers to another."""
    text = json.dumps([asdict(question) for question in questions], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def render(questions: Sequence[Question], thumbnail: int) -> str:
    """Fill the template.

    Parameters
    ----------
    thumbnail : pixels a side of a picture.
    """
    style, script = ((TEMPLATES / f"sheet.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return (
        environment()
        .get_template("rating/templates/sheet.html.j2")
        .render(
            questions=questions,
            letters=letters(max(len(question.lists) for question in questions)),
            no_list=NONE,
            sure=SURE,
            sheet=fingerprint(questions),
            size=thumbnail,
            style=Markup(style),
            script=Markup(script),
            policy=policy(style, script),
        )
    )
