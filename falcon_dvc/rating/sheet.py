"""The rating sheet: one self-contained page that asks people which words describe the pictures of a feature."""

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
CONFIDENCE_LEVELS = range(1, 6)  # from guessing to certain


@dataclass(frozen=True)
class Question:
    """A question as a rater sees it, without the methods of the lists.

    Attributes
    ----------
    name : ``q1``, ``q2``, ... in the order of the sheet.
    pictures : ``data:`` URIs.
    lists : words of each list, in the order shown.
    """

    name: str
    pictures: list[str]
    lists: list[list[str]]


def letters(count: int) -> list[str]:
    """Name the lists of a question: A, B, C, ..."""
    return list(string.ascii_uppercase[:count])


def fingerprint(questions: Sequence[Question]) -> str:
    """Compute the SHA-256 of all questions, so that answers to another sheet are refused."""
    text = json.dumps([asdict(question) for question in questions], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def render(questions: Sequence[Question], thumbnail: int) -> str:
    """Render the sheet as HTML.

    Parameters
    ----------
    thumbnail : side of a picture in pixels.
    """
    style, script = ((TEMPLATES / f"sheet.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return (
        environment()
        .get_template("rating/templates/sheet.html.j2")
        .render(
            questions=questions,
            letters=letters(max(len(question.lists) for question in questions)),
            no_list=NONE,
            sure=CONFIDENCE_LEVELS,
            sheet=fingerprint(questions),
            size=thumbnail,
            style=Markup(style),
            script=Markup(script),
            policy=policy(style, script),
        )
    )
