"""Write a blind rating sheet for people, and turn their answers into metrics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_json, write_table, write_text
from falcon_dvc.errors import UserError
from falcon_dvc.rating.files import Key, read_answers, read_key
from falcon_dvc.rating.questions import ask, draw, methods_of
from falcon_dvc.rating.results import collect, metrics_of, table_of
from falcon_dvc.rating.sheet import fingerprint, render

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params

SHEET, KEY = paths.REPORTS / "study" / "sheet.html", paths.REPORTS / "study" / "key.json"


def make(params: Params) -> Key:
    """Write the rating sheet and its key.

    Raises
    ------
    UserError
        If an artefact is missing, no question can be made, or the key of another sheet would be overwritten.
    """
    asked, frames = ask(params)
    questions = draw(asked, params)
    methods = tuple(methods_of(params.study))
    key = Key(sheet=fingerprint(questions), methods=methods, encoders=frames, questions=tuple(asked))
    _refuse_to_overwrite(key)
    page = render(questions, params.study.thumbnail)
    write_text(KEY, key.model_dump_json(indent=2) + "\n")
    write_text(SHEET, page)
    return key


def _refuse_to_overwrite(key: Key) -> None:
    """Refuse to overwrite the key of another sheet: its answers could not be read without it."""
    if KEY.exists() and read_key(KEY).sheet != key.sheet:
        raise UserError(
            f"{KEY} belongs to another sheet, whose answers need it; move the folder {KEY.parent} away first"
        )


def read(params: Params, answers: Sequence[Path]) -> dict:
    """Write the metrics and the table of the answers, and return the metrics.

    Raises
    ------
    UserError
        If a file is not valid; the message names it, and nothing is written.
    """
    key = read_key(KEY)
    collected = collect(key, read_answers(answers, key))
    metrics, table = metrics_of(collected, params.study), table_of(collected)
    write_table(paths.table("study"), table)
    write_json(paths.metrics("study"), metrics)
    return metrics
