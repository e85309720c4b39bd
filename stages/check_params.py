"""Check params.yaml and the files that it names, before DVC removes the results of any other stage.

Stages without other inputs of the pipeline depend on its output. The output is constant, so a valid change reruns none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_text
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.params.inputs import check_inputs, unread_checkpoints

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params


def run(params: Params) -> StageSummary:
    """Check the inputs, and write ``data/params_checked.txt``. Reading `params` has checked the file itself.

    Raises
    ------
    UserError
        If a file that params name is missing, or a plant has an unknown name.
    """
    files = check_inputs(params)
    write_text(paths.PARAMS_CHECKED, "params.yaml is valid\n")
    return StageSummary(
        read={"files": files}, lacking=unread_checkpoints(params), wrote={f"lines to {paths.PARAMS_CHECKED}": 1}
    )
