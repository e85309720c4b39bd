"""Rows of tables without pandas."""

import pandas as pd
import pytest

from falcon_dvc.artifacts.formats import write_table
from falcon_dvc.cli.records import read_records
from falcon_dvc.errors import UserError

TABLE = pd.DataFrame({"group": ["a", "b", "a"], "score": [0.5, 0.25, 1.0], "kept": [True, False, True]})


@pytest.mark.parametrize("name", ["table.parquet", "table.csv"])
def test_rows_of_a_group_and_columns(tmp_path, name):
    write_table(tmp_path / name, TABLE)
    rows = read_records(tmp_path / name, ["group", "score", "kept"], group="a")
    assert [(row.group, float(row.score), row.kept) for row in rows] == [("a", 0.5, True), ("a", 1.0, True)]
    assert [row.kept for row in read_records(tmp_path / name)] == [True, False, True]
    assert read_records(tmp_path / name, group="c") == []


@pytest.mark.parametrize("name", ["table.parquet", "table.csv"])
def test_what_cannot_be_read_is_said_in_one_line(tmp_path, name):
    with pytest.raises(UserError, match=f"{name}: not a readable table .*run `dvc repro`"):
        read_records(tmp_path / name)
    write_table(tmp_path / name, TABLE)
    with pytest.raises(UserError, match=f"{name}: not a readable table .*prior"):
        read_records(tmp_path / name, ["group", "prior"])
