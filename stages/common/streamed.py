"""Files that are written piece by piece because they do not fit the memory; like all artefacts, they appear only when complete."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


@contextmanager
def finished(path: str | Path) -> Iterator[Path]:
    """A temporary name in the folder of `path`; it takes the place of `path` when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def table_in_parts(path: str | Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """A parquet file to which tables of one schema are added; one table gives the bytes that `write_table` gives."""
    with finished(path) as name, pq.ParquetWriter(name, schema, compression="zstd") as writer:
        yield writer


@contextmanager
def array_in_parts(path: str | Path, shape: tuple[int, ...], dtype: type = np.float32) -> Iterator[np.ndarray]:
    """A ``.npy`` file of known shape, to be filled in."""
    with finished(path) as name:
        array = np.lib.format.open_memmap(name, mode="w+", dtype=dtype, shape=shape)
        yield array
        array.flush()


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
