"""Small results of a profile's run are copied whole, and only if there are some."""

import pytest

from falcon_dvc.cli.runs import keep
from falcon_dvc.errors import UserError


def test_old_results_make_way_for_new_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path, text in {
        "runs/x/dvc.lock": "lock",
        "runs/x/reports/metrics/a.json": "1",
        "runs/x/reports/tables/a.csv": "t",
        "runs/x/reports/index.html": "large",
        "reports/x/metrics/gone.json": "0",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    kept = keep("x")
    assert sorted(str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()) == [
        "dvc.lock",
        "metrics/a.json",
        "tables/a.csv",
    ]


def test_a_run_without_results_is_refused_and_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports/x/metrics").mkdir(parents=True)
    with pytest.raises(UserError, match=r"runs/x/dvc.lock: not found; run make repro PROFILE=x"):
        keep("x")
    assert (tmp_path / "reports/x/metrics").is_dir()
