"""Measure the costs of a cluster: time of an empty task, bytes of a shard, captions per second compared with one process.

``python -m benchmarks.cluster`` starts two nodes with one processor each on this machine: with as many cores, twice the speed of one
process is what can be had at best. It needs the extra `ray` and as much disk as the corpus takes (half a million captions: 0.5 GB).
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from falcon_dvc.artifacts.formats import allocated, write_json
from falcon_dvc.compute.executor import Executor, Task
from falcon_dvc.compute.resolve import executor_of
from falcon_dvc.concepts.retrieval.nearest import Retrieved
from falcon_dvc.concepts.scoring import corpus as corpora
from falcon_dvc.concepts.scoring.corpus import LOCAL, Corpus
from falcon_dvc.concepts.scoring.explanation import Settings
from falcon_dvc.embeddings import UnitRows, open_embeddings
from falcon_dvc.params.load import read_yaml, validated

ROOT = Path(__file__).resolve().parents[1]

SETTINGS = Settings(5, 100.0, "retrieved", "off", 0.1, 0.5, 0.25, 0.5, 8)
ROWS = 10_000  # drawn together
NODE = {"num_cpus": 1, "object_store_memory": 200_000_000, "include_dashboard": False}


def main(
    captions: Annotated[int, typer.Option(min=1, help="In the corpus.")] = 500_000,
    crops: Annotated[int, typer.Option(min=1, help="That are captioned.")] = 200,
    dim: Annotated[int, typer.Option(min=1, help="Width of the embeddings.")] = 512,
    tasks: Annotated[int, typer.Option(min=1, help="Empty ones.")] = 500,
    out: Annotated[Path, typer.Option(help="Where the numbers go.")] = Path("reports/benchmarks/cluster.json"),
) -> None:
    """Measure, and write the numbers."""
    os.environ["OMP_NUM_THREADS"] = (
        "1"  # inherited by the nodes; a shard has one thread, and so has the process beside it
    )
    with tempfile.TemporaryDirectory(prefix="falcon-cluster-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        corpus = synthetic(Path(folder), captions, dim)
        some = unit(np.random.default_rng(1).normal(size=(crops, dim)))
        with nodes(2, Path(folder)) as executor:
            numbers = {
                "captions": captions,
                "crops": crops,
                "dim": dim,
                **empty_tasks(executor, tasks),
                **bytes_of_shards(corpus, some),
                **speeds(corpus, some, executor),
            }
    write_json(out, numbers)
    typer.echo(", ".join(f"{name} {value:g}" for name, value in numbers.items()))


def unit(rows: np.ndarray) -> np.ndarray:
    """Return rows of length 1."""
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def synthetic(folder: Path, captions: int, dim: int) -> Corpus:
    """Return random embeddings in half precision, as those of LAION are given."""
    array = allocated(folder / "embeddings.npy", (captions, dim), np.float16)
    for start in range(0, captions, ROWS):
        part = array[start : start + ROWS]
        part[:] = np.random.default_rng([0, start]).normal(size=part.shape)
    array.flush()
    ids = pd.DataFrame({"caption": np.arange(captions)})
    nothing: Any = None  # no words are looked up
    return Corpus(ids, UnitRows([open_embeddings(folder / "embeddings.npy")]), nothing, nothing, "synthetic")


@contextmanager
def nodes(count: int, folder: Path) -> Iterator[Executor]:
    """Start a cluster of so many nodes on this machine; connect to it."""
    with started(count, folder) as address:
        content = {**read_yaml(ROOT / "params.yaml"), "executor": "ray", "ray": {"address": address}}
        with executor_of(validated(content), "benchmark") as executor:
            yield executor


@contextmanager
def started(count: int, folder: Path) -> Iterator[str]:
    """Start a cluster of so many nodes on this machine; its processes inherit the limits of this one. Yield its address."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_TMPDIR"] = str(folder)
    (folder / "ray").mkdir()
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    for _ in range(count - 1):
        cluster.add_node(**NODE)
    try:
        yield cluster.address
    finally:
        cluster.shutdown()


def empty_tasks(executor: Executor, count: int) -> dict[str, float]:
    """Return the milliseconds of a task that does nothing, its processes started."""
    named = [Task(str(number), (number,)) for number in range(count)]
    list(executor.map(abs, named[:20]))
    return {"milliseconds_per_task": 1000 * seconds(lambda: list(executor.map(abs, named))) / count}


def bytes_of_shards(corpus: Corpus, crops: np.ndarray) -> dict[str, int]:
    """Return what travels of the first and of the last shard, and what a shard's embeddings would take."""
    from ray import cloudpickle

    found = Retrieved(np.full((len(crops), 5), -1), np.full((len(crops), 5), -np.inf), np.full(len(crops), -np.inf))
    sizes: list[tuple[int, int]] = []
    for task in corpus.tasks(found):
        near = corpora.near(crops, 5, None, *task.arguments)
        sizes.append((len(cloudpickle.dumps(task.arguments)), len(cloudpickle.dumps(near))))
        corpora.merged(found, [near])
    shard = min(corpora.CAPTIONS_AT_ONCE, len(corpus.captions))
    return {
        "bytes_sent_per_shard": sizes[0][0],
        "bytes_returned_by_first_shard": sizes[0][1],
        "bytes_returned_by_last_shard": sizes[-1][1],
        "bytes_of_a_shards_embeddings": shard * corpus.embeddings.shape[1] * 2,
    }


def speeds(corpus: Corpus, crops: np.ndarray, executor: Executor) -> dict[str, float]:
    """Return captions a second in one process and on the cluster; the results must be the same."""
    results: list[Retrieved] = []
    found = {}
    corpus.compared(crops, SETTINGS, executor=executor)  # its processes import what they need
    for name, some in (("local", LOCAL), ("ray", executor)):
        took = seconds(lambda some=some: results.append(corpus.compared(crops, SETTINGS, executor=some)))
        found[f"captions_per_second_{name}"] = len(corpus.captions) / took
    assert np.array_equal(results[0].captions, results[1].captions)
    assert np.array_equal(results[0].cosines, results[1].cosines)
    return found


def seconds(work: Callable[[], Any]) -> float:
    """Return how long something takes."""
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


if __name__ == "__main__":
    typer.run(main)
