"""Write parquet files in parts, for tables that do not fit the memory.

A file appears only when it is complete, as all artifacts do.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from falcon_dvc.artifacts.formats import finished


@contextmanager
def table_in_parts(path: str | Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Open a parquet file to which tables of one schema are added.

    One table gives the same bytes as `write_table`.
    """
    with finished(path) as name, pq.ParquetWriter(name, schema, compression="zstd") as writer:
        yield writer


def row_groups(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Regroup the rows into tables of `rows` each; the last may be shorter.

    So the written bytes do not depend on how the rows were read.
    """
    waiting: list[pa.Table] = []
    count = 0
    for table in tables:
        waiting.append(table)
        count += table.num_rows
        while count >= rows:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, rows).combine_chunks()
            waiting, count = [whole.slice(rows)], count - rows
    if count:
        yield pa.concat_tables(waiting).combine_chunks()
