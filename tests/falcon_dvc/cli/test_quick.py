"""Look-ups and help are quick: they do not import what takes long, and use little time of the processor."""

import json
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_table
from tests.support.paths import ROOT
from tests.support.word_sets import word_set

SLOW = (
    "rich",
    "pyarrow",
    "torch",
    "pandas",
    "scipy",
    "nltk",
    "dvc",
    "pyarrow.compute",
    "pyarrow.dataset",
    "falcon_dvc.params.schema",
)
# Runs a command; then prints the seconds that the process took and the slow modules that it imported.
PROGRAM = f"""
import json, sys, time
from falcon_dvc.cli.app import main
try:
    main()
except SystemExit:
    pass
print(json.dumps([time.process_time(), [name for name in {SLOW} if name in sys.modules]]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The results of one encoder with one feature."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    number = {
        "value": 0.5,
        "score": 0.5,
        "low_score": 0.1,
        "prior": 0.1,
        "interval_low": 0.4,
        "interval_high": 0.6,
        "support": 9,
        "weak": False,
    }
    concept = {"group": "f3", "kind": "word", "rank": 1, "concept": "boat", "kept": True, "reason": "", **number}
    measured = {"crops": 9, "coherence": 0.4, "z": 7.0, "released_coherence": 0.5, "interpretable": True}
    tables = {
        paths.groups("simclr") / "groups.parquet": {"group": "f3", "members": "3", "support": 30, "lift": 4.0},
        paths.concepts("simclr") / "concepts.parquet": concept,
        paths.concepts("simclr") / "evidence.parquet": {"group": "f3", "concept": "boat", "caption": 4, "weight": 0.2},
        paths.CAPTIONS / "captions.parquet": {"caption": 4, "text": "a boat"},
        paths.EXPLAINABILITY / "simclr.parquet": {"group": "f3", "released_interpretable": True, **measured},
        paths.EXPLAINED: {"encoder": "simclr", "group": "f3", "kind": "feature", "explained": True, "pearson": 0.5},
        paths.table("simclr_truth"): {"group": "f0"},
        paths.table("simclr_quantiles"): {"group": "f0"},
        paths.table("synonyms"): {"concept": "boat", "synonyms": "vessel"},
    }
    for path, row in tables.items():
        write_table(folder / path, pd.DataFrame([row]))
    write_table(folder / paths.table("simclr_word_sets"), word_set("f3", ["boat"], r2=0.5))
    write_table(folder / paths.table("simclr_pairs"), pd.DataFrame({"choice": []}))
    return folder


def run(folder, *arguments):
    """What the command prints, the processor time of its process, and the slow modules that it imported."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    *printed, last = done.stdout.splitlines()
    return "\n".join(printed), *json.loads(last)


# The limits are those of an idle machine; a busy one also takes more time of the processor.
@pytest.mark.parametrize(
    ("arguments", "shown"),
    [(("find", "vessels", "--encoder", "simclr"), "simclr:f3"), (("explain", "simclr:3"), "a boat")],
    ids=["find", "explain"],
)
def test_look_ups(folder, arguments, shown):
    text, took, imported = run(folder, *arguments)
    assert shown in text
    assert imported == ["rich", "pyarrow"]
    assert took < 3 * 1.0


@pytest.mark.parametrize("arguments", [("--help",), ("find", "--help")], ids=" ".join)
def test_help(folder, arguments):
    text, took, imported = run(folder, *arguments)
    assert text.startswith("Usage:") and imported == []
    assert took < 3 * 0.3
