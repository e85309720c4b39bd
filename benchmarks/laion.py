"""Measure time and memory of a caption index of LAION's size: synthetic shards, indexed in place and searched exactly.

``python -m benchmarks.laion --shards 10 --captions 10000000 --dim 512 --folder FOLDER`` needs 1 KB of disk a caption.
"""

import hashlib
import json
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from falcon_dvc.concepts.retrieval.index import read_captions
from falcon_dvc.concepts.retrieval.nearest import nearest_captions
from falcon_dvc.concepts.scoring.corpus import shards_of
from falcon_dvc.params.load import merge, read_yaml, validated
from falcon_dvc.params.schema import Params
from falcon_dvc.synthetic.captions import corpus
from falcon_dvc.synthetic.scenes.scenes import draw_attributes
from stages import build_caption_index

ROOT = Path(__file__).resolve().parents[1]

UNIT = 10_000  # captions that are drawn together
K = 5


class Nothing:
    """A placeholder for the image-text encoder: the embeddings come with the corpus."""

    fingerprint, preprocessing = "synthetic", "none"

    def __init__(self, dim: int) -> None:
        self.dim = dim


def main(
    folder: Annotated[Path, typer.Option(help="Where the shards and the index are written.")],
    shards: Annotated[int, typer.Option(min=1)] = 3,
    captions: Annotated[int, typer.Option(min=1, help="Of all shards together.")] = 60_000,
    dim: Annotated[int, typer.Option(min=2)] = 64,
    queries: Annotated[int, typer.Option(min=1, help="Images whose nearest captions are searched.")] = 1000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Make a corpus, index it, search it; print seconds per million captions, peak memory and a digest of what was found."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    typer.echo(json.dumps(measured(shards, captions, dim, queries, seed), indent=2))


def measured(shards: int, count: int, dim: int, queries: int, seed: int) -> dict:
    """Make, index and search a corpus in the working folder."""
    seconds: dict[str, float] = {}
    with timed(seconds, "make"):
        write_shards(Path("laion"), shards, count, dim, seed)
    made = peak_memory()
    with timed(seconds, "index"):
        build_caption_index.build(params_of("laion"), lambda: Nothing(dim))
    with timed(seconds, "search"):
        captions, embeddings, _ = read_captions()
        ids = captions["caption"].to_numpy()
        found = nearest_captions(images(queries, dim, seed), shards_of(ids, embeddings), K).captions
    return {
        "captions": count,
        "shards": shards,
        "kept": len(ids),
        "dim": dim,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "seconds_per_million": {name: round(value / (count / 1e6), 2) for name, value in seconds.items()},
        "peak_memory_gb": {"make": made, "all": peak_memory()},
        "found": hashlib.sha256(found.astype("<i8").tobytes()).hexdigest(),
    }


def write_shards(folder: Path, shards: int, count: int, dim: int, seed: int) -> None:
    """Pairs of files as LAION publishes them, of unequal sizes; the corpus is the same however it is divided."""
    folder.mkdir(exist_ok=True)
    base = corpus(draw_attributes(4096, np.random.default_rng(seed)), 0.1, 0.1, np.random.default_rng(seed))
    schema = pa.schema([("url", pa.string()), ("caption", pa.string())])
    ends = np.linspace(0, count, shards + 1).astype(int).tolist()
    for number, (first, end) in enumerate(pairwise(ends)):
        rows = end - first
        shape = {"descr": "<f2", "fortran_order": False, "shape": (rows, dim)}
        with (
            (folder / f"text_emb_{number}.npy").open("wb") as embeddings,
            pq.ParquetWriter(folder / f"metadata_{number}.parquet", schema) as metadata,
        ):
            np.lib.format.write_array_header_1_0(embeddings, shape)
            for vectors, texts in parts_of(first, rows, dim, base, seed):
                # Not memory-mapped, because written pages would count as this process's memory.
                embeddings.write(vectors.astype("<f2").tobytes())
                metadata.write_table(pa.table({"url": ["address"] * len(texts), "caption": texts}, schema=schema))


def parts_of(first: int, rows: int, dim: int, base: list[str], seed: int) -> Iterator[tuple[np.ndarray, list[str]]]:
    """Yield embeddings and captions of the rows from `first` on, in parts; each unit of the corpus has random numbers of its own."""
    for unit in range(first // UNIT, -(-(first + rows) // UNIT)):
        low, high = max(unit * UNIT, first), min((unit + 1) * UNIT, first + rows)
        rng, inside = np.random.default_rng([seed, unit]), slice(low - unit * UNIT, high - unit * UNIT)
        vectors, texts = rng.standard_normal((UNIT, dim), dtype=np.float32), captions_of(base, rng)
        yield vectors[inside], texts[inside]


def captions_of(base: list[str], rng: np.random.Generator) -> list[str]:
    """Return captions of the embedded world, most with a number: its grammar repeats itself before long."""
    numbers, which = rng.integers(0, 2**40, UNIT), rng.integers(0, len(base), UNIT)
    return [f"{base[row]} {number}" if number % 8 else base[row] for row, number in zip(which, numbers, strict=True)]


def images(count: int, dim: int, seed: int) -> np.ndarray:
    """Return unit queries that lie apart from the texts, as images do."""
    rng = np.random.default_rng([seed, 2**31])
    rows = rng.standard_normal((count, dim), dtype=np.float32) + 0.5 * rng.standard_normal(dim, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def params_of(captions: str) -> Params:
    """Return the project's params with this corpus."""
    content = read_yaml(ROOT / "params.yaml")
    merge(content, {"data": {"captions": captions, "caption_format": "laion"}})
    return validated(content)


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Note how long something takes."""
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def peak_memory() -> float:
    """Return the most memory that this process has held, in GB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 3)


if __name__ == "__main__":
    typer.run(main)
