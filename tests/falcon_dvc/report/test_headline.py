"""The headline numbers: few, each from a metrics file, combined over encoders, absent if not measured."""

import re

import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_json
from falcon_dvc.params.load import load_params, read_yaml
from falcon_dvc.report.headline import MOST, NUMBERS, headline
from tests.support.paths import ROOT
from tests.support.stage_params import params_of

OF_LABELS = {number.name for number in NUMBERS if number.kind == "classes"}
PARAMS = load_params(ROOT / "params.yaml")


def test_they_are_few_and_have_different_names():
    assert MOST == 25 and len(NUMBERS) - len(OF_LABELS) <= MOST  # a run has known attributes or labels
    assert len({number.name for number in NUMBERS}) == len(NUMBERS)


def test_dvc_shows_only_them():
    pipeline = read_yaml(ROOT / "dvc.yaml")
    shown = [entry for stage in pipeline["stages"].values() for entry in stage.get("do", stage).get("metrics", [])]
    assert [list(entry) for entry in shown] == [[str(paths.SUMMARY)]]
    assert "metrics" not in pipeline
    studies = read_yaml(ROOT / "studies/dvc.yaml")["stages"].values()
    assert not [stage for stage in studies if "metrics" in stage.get("do", stage)]


def test_the_default_run_has_all_but_those_of_units_and_labels(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert {number.name for number in NUMBERS} - set(headline(PARAMS)) == {"units_right", *OF_LABELS}


def test_counts_are_summed_and_shares_are_weighted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, count, share in (("supervised", 30, 1.0), ("simclr", 10, 0.0), ("untrained_1", 70, 0.5)):
        counts = {"features": count + 5, "single": {"explained": count, "interpretable": {"share": share}}}
        write_json(paths.metrics(f"explainability_{name}"), counts)
    write_json(paths.metrics("explainability_of_an_old_run"), {"features": 1000})
    write_json(paths.metrics("transfer_supervised_to_simclr"), {"r2": {"median": 0.5}})
    assert headline(PARAMS) == {"features": 50, "interpretable": 0.75, "transfer_r2": 0.5}


def test_controls_are_counted_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shares = {"supervised": (30, 0.8), "simclr": (10, 0.4), "untrained_1": (50, 0.1), "untrained_2": (50, 0.0)}
    sections = {
        name: {"is_a_control": False, "feature": {"measured": count, "share": share, "permuted_words": {"share": 0.0}}}
        for name, (count, share) in shares.items()
    }
    write_json(paths.metrics("explained"), sections | {"of_an_old_run": {"feature": {"measured": 9, "share": 1.0}}})
    for name, (count, share) in shares.items():
        write_json(paths.metrics(f"evaluation_{name}"), {"all": {"features": count, "top1": share}})
    expected = {"explained": 0.7, "explained_untrained": 0.05, "first_right": 0.7, "first_right_untrained": 0.05}
    assert headline(PARAMS) == pytest.approx({**expected, "explained_permuted": 0.0})


def test_parts_that_are_switched_off_are_absent(monkeypatch):
    monkeypatch.chdir(ROOT)
    without = {"supervised_to_simclr": None, "simclr_to_supervised": None}
    found = headline(params_of({"transfers": without}))
    assert found and not [name for name in found if name.startswith("transfer")]


def test_nothing_measured_gives_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_json(paths.metrics("evaluation_simclr"), {"clear_truth": 0, "all": {"features": 0}})
    assert headline(PARAMS) == {"clear_truth": 0}


@pytest.mark.parametrize("name", [number.name for number in NUMBERS])
def test_each_is_documented(name):
    page = (ROOT / "docs/compare.md").read_text(encoding="utf-8")
    assert re.search(rf"^\|.*`{name}`.*\|", page, re.MULTILINE)
