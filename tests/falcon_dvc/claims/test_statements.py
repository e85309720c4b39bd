"""A statement takes its number from the studies, and from the default run if they have none."""

import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_json
from falcon_dvc.claims.statements import SEED_0, STUDY, WORLDS, Ref, Row
from falcon_dvc.claims.table import UNMEASURED, measured

ROW = Row("C1", "few features", WORLDS, Ref(STUDY, "explained.share"), 0.2, "below").or_own(
    "explained", "net.share", of="net"
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def number(value):
    return {"share": value, "interval_low": value - 0.01, "interval_high": value + 0.01}


def test_the_default_run_stands_where_the_studies_have_no_number():
    write_json(paths.metrics("explained"), {"net": number(0.5)})
    found = measured(ROW)
    assert (found["statement"], found["data"], found["verdict"]) == ("net: few features", SEED_0, "does not hold")
    assert (found["file"], found["key"]) == (str(paths.metrics("explained")), "net.share")


def test_the_studies_come_first():
    write_json(paths.metrics("explained"), {"net": number(0.5)})
    write_json(STUDY, {"explained": {**number(0.1), "worlds": 5}})
    found = measured(ROW)
    assert (found["statement"], found["data"], found["verdict"]) == ("few features", "synthetic, 5 data sets", "holds")


def test_a_number_of_the_same_run_can_be_what_it_must_exceed():
    write_json(paths.metrics("explained"), {"net": number(0.5), "control": number(0.1)})
    found = measured(
        Row("C1", "more", WORLDS, Ref(STUDY, "x.share"), 0.0, "positive").or_own(
            "explained", "net.share", "control.share"
        )
    )
    assert found["verdict"] == "holds" and found["against_key"] == "control.share"


def test_without_any_number_nothing_is_decided():
    assert measured(ROW)["verdict"] == UNMEASURED
