"""The table of reliability says what the trials found, bad news too, and which of them were not run."""

import shutil

import pytest

from falcon_dvc.artifacts.formats import write_json
from tests.support.paths import ROOT
from trials import reliability


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(reliability, "FOLDER", tmp_path)
    return tmp_path


def test_a_trial_without_a_result_is_named(folder):
    rows = reliability.table().splitlines()[7:]
    assert len(rows) == len(reliability.TRIALS)
    assert all("not run" in row for row in rows)


def test_a_failed_trial_reads_as_one(folder):
    write_json(folder / "together.json", {"second_refused": 0, "first_ended_well": 0, "up_to_date_afterwards": 1})
    row = next(row for row in reliability.table().splitlines() if "NOT refused" in row)
    assert "DISTURBED" in row


def test_every_trial_is_a_script_that_is_run_by_make():
    text = (ROOT / "Makefile").read_text()
    for command, _ in reliability.TRIALS.values():
        assert (ROOT / f"{command.split()[0].replace('.', '/')}.py").exists()
        assert f"python -m {command}" in text


def test_the_committed_table_is_of_the_committed_results(folder):
    for file in (ROOT / "reports" / "reliability").glob("*.json"):
        shutil.copy(file, folder)
    assert (ROOT / "reports" / "reliability.md").read_text(encoding="utf-8") == reliability.table()
