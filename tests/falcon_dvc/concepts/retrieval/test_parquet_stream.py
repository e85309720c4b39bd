"""Files written in parts are byte for byte those written at once, and never half there."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from falcon_dvc.artifacts.formats import write_table
from falcon_dvc.concepts.retrieval.parquet_stream import row_groups, table_in_parts

TABLE = pd.DataFrame({"caption": np.arange(7), "text": list("abcdefg")})


def test_one_table_gives_the_bytes_of_write_table(tmp_path):
    write_table(tmp_path / "whole.parquet", TABLE)
    schema = pa.schema([("caption", pa.int64()), ("text", pa.string())])
    with table_in_parts(tmp_path / "parts.parquet", schema) as writer:
        writer.write_table(pa.Table.from_pandas(TABLE, schema=schema, preserve_index=False).replace_schema_metadata())
    assert (tmp_path / "parts.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("rows", [1, 3, 7, 9])
def test_row_groups_do_not_depend_on_the_parts(size, rows):
    parts = (pa.Table.from_pandas(TABLE[start : start + size]) for start in range(0, 7, size))
    found = [part["caption"].to_pylist() for part in row_groups(parts, rows)]
    assert found == [list(range(start, min(start + rows, 7))) for start in range(0, 7, rows)]
