"""Files that are written piece by piece because they do not fit the memory; like all artefacts, they appear only when complete."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from falcon_dvc.artifacts.formats import finished


@contextmanager
def table_in_parts(path: str | Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """A parquet file to which tables of one schema are added; one table gives the bytes that `write_table` gives."""
    with finished(path) as name, pq.ParquetWriter(name, schema, compression="zstd") as writer:
        yield writer


def row_groups(parts: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of `rows` each (the last may be shorter): what is written does not depend on how it was read."""
    waiting: list[pa.Table] = []
    count = 0
    for part in parts:
        waiting.append(part)
        count += part.num_rows
        while count >= rows:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, rows).combine_chunks()
            waiting, count = [whole.slice(rows)], count - rows
    if count:
        yield pa.concat_tables(waiting).combine_chunks()
