"""Write the claims table: what was measured for each claim, against what, and whether it holds.

Every number has its file and key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_table, write_text
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.claims.statements import rows
from falcon_dvc.claims.table import UNMEASURED, as_markdown, measured

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params


REPORT = paths.REPORTS / "claims.md"


def run(params: Params) -> StageSummary:
    """Write ``reports/claims.md`` and ``reports/tables/claims.csv``.

    A row without figures in this run is marked.
    """
    table = pd.DataFrame([measured(row) for row in rows(params)])
    write_table(paths.table("claims"), table)
    write_text(REPORT, as_markdown(table))
    return StageSummary(
        read={"statements": len(table)},
        dropped={"statements": {"not measured in this run": int((table["verdict"] == UNMEASURED).sum())}},
        wrote={f"rows to {REPORT}": len(table)},
    )
