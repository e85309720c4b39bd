"""`docs/recompute.py` is short, imports nothing of the project, and finds the numbers of the tables again."""

import re

import pytest

from tests.support.paths import ROOT
from tests.support.recomputed import SCRIPT, agrees, recomputed


def test_it_is_short_and_needs_numpy_and_pandas_only():
    text = SCRIPT.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 42
    assert set(re.findall(r"^(?:import|from) (\w+)", text, flags=re.MULTILINE)) == {"numpy", "pandas"}


def test_the_tables_of_the_default_run_hold_what_it_finds(monkeypatch):
    if not (ROOT / "data/explained.parquet").is_file():
        pytest.skip("no artifacts of the default run; `make repro` makes them")
    monkeypatch.chdir(ROOT)
    found = recomputed()
    assert len(found) == 6 and all(agrees(*values) for values in found.values()), found
