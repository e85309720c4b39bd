"""docs/artifacts.ipynb runs, cell by cell as plain Python, on artefacts as docs/artifacts.md describes them; it holds no outputs."""

import json

import numpy as np
import pandas as pd
import pytest

from falcon_dvc.artifacts.formats import read_table, write_array, write_table
from tests.support.paths import ROOT
from tests.support.report_artifacts import make_params, write_artefacts

matplotlib = pytest.importorskip("matplotlib", reason="the notebook draws with matplotlib, of the extra dev")
plt = pytest.importorskip("matplotlib.pyplot")

CELLS = json.loads((ROOT / "docs/artifacts.ipynb").read_text(encoding="utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]


def test_no_outputs_are_kept():
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in CELLS if cell["cell_type"] == "code")
    assert len({cell["id"] for cell in CELLS}) == len(CELLS)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A small run, and the folder that a notebook's kernel starts in."""
    monkeypatch.chdir(tmp_path)
    write_artefacts(make_params(("supervised", "simclr")))
    for groups in tmp_path.glob("data/groups/*/groups.parquet"):
        table = read_table(groups)
        write_table(groups, table.assign(lift_beyond=table["lift"]))
    rows = len(read_table("data/images.parquet"))
    write_array("data/activations/supervised/features.npy", np.random.default_rng(0).random((rows, 6)))
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path / "docs")
    matplotlib.use("agg")
    yield tmp_path
    plt.close("all")


def test_every_cell_runs_and_shows_what_it_says(folder):
    names: dict = {}
    before = sorted(folder.rglob("*"))
    for source in CODE:
        exec(compile(source, "docs/artifacts.ipynb", "exec"), names)
    assert names["ROOT"] == folder and sorted(folder.rglob("*")) == before
    assert set(names["of_concept"]["concept"]) == {names["concept"]} and names["of_concept"]["text"].notna().all()
    assert (names["groups"]["size"] > 1).any() and len(names["truth"]) and isinstance(names["first"], pd.Series)
    assert len(plt.get_fignums()) == 3
