"""A human check: a blind rating sheet of features, and the raters' answers as metrics. Two commands, no stage of the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stages.common import files
from stages.common.artifacts import write_json, write_table, write_text
from stages.common.errors import UserError
from stages.reporting.rating_files import Key, read_answers, read_key
from stages.reporting.rating_questions import ask, draw, methods_of
from stages.reporting.rating_results import collect, metrics_of, table_of
from stages.reporting.rating_sheet import fingerprint, render

if TYPE_CHECKING:
    from stages.common.params import Params

SHEET, KEY = files.REPORTS / "study" / "sheet.html", files.REPORTS / "study" / "key.json"


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


def read(params: Params, paths: Sequence[Path]) -> dict:
    """Write the metrics and the table of the answers collected; give the metrics.

    Raises
    ------
    UserError
        One line that names the file that is wrong; then nothing is written.
    """
    key = read_key(KEY)
    collected = collect(key, read_answers(paths, key))
    metrics, table = metrics_of(collected, params.study), table_of(collected)
    write_table(files.table("study"), table)
    write_json(files.metrics("study"), metrics)
    return metrics
