"""One page that shows every explained feature: its crops, its concepts, and what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stages.common import files
from stages.common.artifacts import read_table, write_text
from stages.reporting.crops import heatmaps, shown_crops
from stages.reporting.failures import collect_failures
from stages.reporting.markup import render
from stages.reporting.pages import collect
from stages.reporting.pictures import draw_crops
from stages.sources.image_sources import open_images

if TYPE_CHECKING:
    from stages.common.params import Params

REPORT = files.REPORTS / "index.html"


def run(params: Params) -> None:
    """Write ``reports/index.html``: self-contained, the same bytes whenever it is made from the same artefacts.

    Parameters
    ----------
    params
        Used are ``report``, ``data``, ``encoders``, ``failures``, ``transfers``, ``image_text`` and ``concepts``.

    Raises
    ------
    UserError
        If an artefact is missing or an image has changed.
    """
    images = read_table(files.IMAGES)
    source = open_images(params.data, images)
    shown = shown_crops(params, images)
    uris = draw_crops(source, shown, heatmaps(params), params.report.thumbnail)
    failures = collect_failures(params, images, source)
    write_text(REPORT, render(collect(params, images, shown.assign(uri=uris), failures), params.report.thumbnail))
