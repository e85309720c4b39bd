"""The reliability tests are counted by what pytest writes."""

from tests.support.paths import ROOT
from trials.suites import SUITES, counted


def test_outcomes_are_counted():
    found = counted(["tests/falcon_dvc/transfer/test_maps.py"], 1)
    assert found["passed"] > 0 and found["failed"] == found["skipped"] == 0


def test_every_suite_names_places_that_exist():
    assert all((ROOT / name).exists() for names in SUITES.values() for name in names if not name.startswith("-"))
