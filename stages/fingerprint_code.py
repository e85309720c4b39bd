"""Compute fingerprints of the code that each stage imports, so that DVC repeats a stage if one of its modules has changed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_text
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.imports import fingerprints

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params

FOLDER = Path(__file__).parent


def run(params: Params) -> StageSummary:
    """Write ``data/code/NAME.txt`` of every stage: the SHA-256 and the name of each file."""
    shutil.rmtree(paths.CODE, ignore_errors=True)
    modules = sorted(FOLDER.glob("[!_]*.py"))
    for module in modules:
        write_text(paths.CODE / f"{module.stem}.txt", fingerprints(module, FOLDER.parent))
    return StageSummary(read={"stages": len(modules)}, wrote={f"files to {paths.CODE}": len(modules)})
