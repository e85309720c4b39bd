"""Write the report: a site with a page for every encoder, feature, group and concept, for failures and transfers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_json, write_text
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.report.headline import headline
from falcon_dvc.report.site import replaced, write_site

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params

REPORT, SITE = paths.REPORTS / "index.html", paths.REPORTS / "site"


def run(params: Params) -> StageSummary:
    """Write ``reports/index.html``, ``reports/site/`` and the headline numbers, ``reports/summary.json``.

    The pages load nothing from other sites. The same artifacts give the same bytes.

    Parameters
    ----------
    params
        The stage uses ``report``, ``data``, ``worlds``, ``encoders``, ``failures``, ``transfers``, ``image_text`` and ``concepts``.

    Raises
    ------
    UserError
        If an artifact is missing or an image has changed.
    """
    with replaced(SITE) as folder:
        overview = write_site(params, folder)
    write_text(REPORT, overview)
    numbers = headline(params)
    write_json(paths.SUMMARY, numbers)
    written = [path for path in SITE.rglob("*") if path.is_file()]
    pages = sum(path.suffix == ".html" for path in written)
    return StageSummary(
        read={"encoders": len(params.encoders), "transfers": len(params.transfers)},
        wrote={
            f"pages to {SITE}": pages,
            "other files": len(written) - pages,
            f"numbers to {paths.SUMMARY}": len(numbers),
        },
    )
