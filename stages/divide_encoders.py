"""Divide each entry of `encoders` into its network, its choice of features and what it controls, as files that DVC compares.

Stages that compute with the network depend on the first file. So another choice of features does not repeat them.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_text
from falcon_dvc.artifacts.summary import StageSummary

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params


def run(params: Params) -> StageSummary:
    """Write ``network.json``, ``features.json`` and ``control.json`` of every encoder; remove those of encoders that are gone."""
    shutil.rmtree(paths.ENCODERS, ignore_errors=True)
    for name, spec in params.encoders.items():
        network = spec.model_dump(mode="json")
        _write(name, "features", network.pop("features"))
        _write(name, "control", network.pop("control_of"))
        _write(name, "network", network)
    count = len(params.encoders)
    return StageSummary(read={"encoders": count}, wrote={f"files to {paths.ENCODERS}": 3 * count})


def _write(name: str, what: str, value: Any) -> None:
    """Write all digits of numbers: a network with another normalisation is another network."""
    write_text(paths.ENCODERS / name / f"{what}.json", json.dumps(value, indent=2, sort_keys=True) + "\n")
