"""Every number of the claims table is the one in the file and key that its row names; what was not measured is not made up."""

import json
from pathlib import Path

import pandas as pd
import pytest

from falcon_dvc.claims import statements as claims
from falcon_dvc.claims.statements import Ref, Row
from falcon_dvc.claims.table import measured
from falcon_dvc.claims.verdicts import CLAIMS
from falcon_dvc.params.load import load_params
from tests.support.paths import ROOT


def test_a_row_shows_the_number_of_its_file_and_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("m.json").write_text(
        json.dumps({"a": {"share": 0.5, "interval_low": 0.4, "interval_high": 0.6}, "b": {"share": 0.1}})
    )
    file = Path("m.json")
    shown = measured(Row("C1", "more", "here", Ref(file, "a.share"), Ref(file, "b.share")))
    assert (shown["measured"], shown["against"], shown["verdict"]) == ("0.500 [0.400, 0.600]", "0.100", "holds")
    limit = measured(Row("C1", "below", "here", Ref(file, "a.share"), 0.45, "below"))
    assert (limit["against"], limit["verdict"]) == ("below 0.45", "undecided")
    paired = measured(Row("C1", "more", "here", Ref(file, "a.share"), 0.0, "positive"))
    assert (paired["against"], paired["verdict"]) == ("above 0", "holds")


@pytest.mark.parametrize("key", ["a.mean", "c.share", "a.share.more"])
def test_what_was_not_measured_is_said_to_be_so(tmp_path, monkeypatch, key):
    monkeypatch.chdir(tmp_path)
    Path("m.json").write_text('{"a": {"share": 0.5}}')
    for ref in (Ref(Path("m.json"), key), Ref(Path("missing.json"), "a.share")):
        shown = measured(Row("C1", "more", "here", ref, 0.2, "below"))
        assert (shown["measured"], shown["verdict"]) == ("–", "not measured here")


def test_the_committed_table_is_made_of_the_committed_metrics(tmp_path, monkeypatch):
    """Each line again from the file and key that it names, without the code that made it."""
    monkeypatch.chdir(ROOT)
    table = pd.read_csv("reports/tables/claims.csv", keep_default_na=False)
    assert {"C1", "C2", "C3", "C4", "C5", "R"} <= set(table["claim"]) <= set(CLAIMS)
    measured = table[table["verdict"] != "not measured here"]
    assert len(measured) >= 20
    for row in measured.itertuples():
        content = json.loads(Path(row.file).read_text())
        for part in row.key.split("."):
            inside, content = content, content[part]
        assert row.measured.startswith(f"{content:.3f}"), row.key
        if "interval_low" in inside:
            assert row.measured == f"{content:.3f} [{inside['interval_low']:.3f}, {inside['interval_high']:.3f}]" or (
                inside["interval_low"] == inside["interval_high"]
            )


def test_every_statement_of_the_default_run_names_one_row_only():
    rows = list(claims.rows(load_params(ROOT / "params.yaml")))
    assert len({(row.statement, row.data) for row in rows}) == len(rows) <= 30
    assert {row.claim for row in rows} == set(CLAIMS)


def test_a_number_over_worlds_says_of_how_many(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("m.json").write_text(json.dumps({"a": {"share": 0.5, "worlds": 5}, "b": {"share": 0.4, "worlds": 1}}))
    single = measured(Row("C1", "x", claims.WORLDS, Ref(Path("m.json"), "b.share"), 0.2, "at least"))
    assert (single["measured"], single["verdict"]) == ("0.400", "undecided"), "one data set decides nothing"
    data = [
        measured(Row("C1", "x", claims.WORLDS, Ref(Path("m.json"), key), 0.2, "below"))["data"]
        for key in ("a.share", "b.share", "c.share")
    ]
    assert data == ["synthetic, 5 data sets", "synthetic, 1 data set", "synthetic"]
