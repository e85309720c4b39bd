"""The notebooks in docs/ run, cell by cell as plain Python, and hold no outputs; artifacts.ipynb on artefacts as artifacts.md describes."""

import json
import re
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
import torch

import falcon_dvc
from falcon_dvc.artifacts.formats import read_table, write_array, write_table
from tests.support.paths import ROOT
from tests.support.report_artifacts import make_params, write_artefacts

pytestmark = pytest.mark.skipif(
    not find_spec("matplotlib"), reason="the notebook draws with matplotlib, of the extra dev"
)


def cells(name):
    return json.loads((ROOT / "docs" / name).read_text(encoding="utf-8"))["cells"]


def executed(name):
    """Run the code of a notebook; give its names."""
    names: dict = {}
    for cell in cells(name):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"docs/{name}", "exec"), names)
    return names


@pytest.mark.parametrize("name", [path.name for path in sorted((ROOT / "docs").glob("*.ipynb"))])
def test_no_outputs_are_kept(name):
    code = [cell for cell in cells(name) if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in cells(name)}) == len(cells(name))


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
    return tmp_path


@pytest.fixture
def figures(monkeypatch):
    """The library that draws, imported by the worker that needs it."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


def test_every_cell_runs_and_shows_what_it_says(folder, figures):
    before = sorted(folder.rglob("*"))
    names = executed("artifacts.ipynb")
    assert names["ROOT"] == folder and sorted(folder.rglob("*")) == before
    assert set(names["of_concept"]["concept"]) == {names["concept"]} and names["of_concept"]["text"].notna().all()
    assert (names["groups"]["size"] > 1).any() and len(names["truth"]) and isinstance(names["first"], pd.Series)
    assert len(figures.get_fignums()) == 3


def test_the_features_of_a_notebook_are_named_after_colours(tmp_path, monkeypatch, figures):
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng(devices=[]):
        names = executed("explain.ipynb")
    first = names["first"]
    clear = first[first["interval_low"] > first["prior"]]
    assert len(clear) >= 4 and set(clear["concept"]) <= set(names["COLOURS"])
    assert names["few"].groups["group"].tolist() == ["f0", "f3"]
    assert not list(tmp_path.iterdir()), "it writes no files"


def test_the_names_of_packages_in_its_text_exist():
    text = "".join(line for cell in cells("explain.ipynb") for line in cell["source"])
    assert set(re.findall(r"falcon_dvc\.(\w+)", text)) <= set(falcon_dvc.__all__)
