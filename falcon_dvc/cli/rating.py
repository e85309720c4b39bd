"""A human check: a blind rating sheet of features, and the raters' answers as metrics. Two commands, no stage of the pipeline."""

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
    """Write the rating sheet and, apart from it, its key.

    Raises
    ------
    UserError
        If an artefact is missing, nothing can be asked, or another sheet's key would be lost.
    """
    asked, frames = ask(params)
    questions = draw(asked, params)
    methods = tuple(methods_of(params.study))
    key = Key(sheet=fingerprint(questions), methods=methods, encoders=frames, questions=tuple(asked))
    _refuse_to_lose(key)
    page = render(questions, params.study.thumbnail)
    write_text(KEY, key.model_dump_json(indent=2) + "\n")
    write_text(SHEET, page)
    return key


def _refuse_to_lose(key: Key) -> None:
    """Answers to a sheet are worth nothing without its key."""
    if KEY.exists() and read_key(KEY).sheet != key.sheet:
        raise UserError(
            f"{KEY} belongs to another sheet, whose answers could then not be read; move the folder {KEY.parent} away first"
        )


def read(params: Params, answers: Sequence[Path]) -> dict:
    """Write the metrics and the table of the answers collected; give the metrics.

    Raises
    ------
    UserError
        One line that names the file that is wrong; then nothing is written.
    """
    key = read_key(KEY)
    collected = collect(key, read_answers(answers, key))
    metrics, table = metrics_of(collected, params.study), table_of(collected)
    write_table(paths.table("study"), table)
    write_json(paths.metrics("study"), metrics)
    return metrics
