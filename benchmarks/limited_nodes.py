"""Show that nodes of limited memory search a corpus that none of them could hold.

``python -m benchmarks.limited_nodes`` starts three nodes with one processor each on this machine. The kernel refuses each of their
processes more private memory than a limit (``RLIMIT_DATA``). It needs the extra `ray`, and as much disk as the corpus takes.
"""

import os
import resource
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.cluster import SETTINGS, nodes, seconds, synthetic, unit
from falcon_dvc.artifacts.formats import write_json
from falcon_dvc.concepts.retrieval.nearest import Retrieved
from falcon_dvc.concepts.scoring.corpus import LOCAL, Corpus

NODES = 3


def main(
    captions: Annotated[int, typer.Option(min=1, help="In the corpus.")] = 2_500_000,
    crops: Annotated[int, typer.Option(min=1, help="That are captioned.")] = 100,
    dim: Annotated[int, typer.Option(min=1, help="Width of the embeddings.")] = 512,
    limit: Annotated[int, typer.Option(min=1, help="Bytes of private memory of a process.")] = 1_500_000_000,
    out: Annotated[Path, typer.Option(help="Where the numbers go.")] = Path("reports/benchmarks/limited_nodes.json"),
) -> None:
    """Search the corpus on the nodes and in one process, all under the limit; write the numbers."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="falcon-limited-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        corpus = synthetic(Path(folder), captions, dim)
        some = unit(np.random.default_rng(1).normal(size=(crops, dim)))
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))  # of this process, and of all that it starts
        numbers = {
            "nodes": NODES,
            "captions": captions,
            "crops": crops,
            "bytes_of_the_corpus": captions * dim * 2,
            "bytes_that_a_process_may_hold": limit,
            "one_process_can_hold_the_corpus": holds(Path(folder) / "embeddings.npy"),
            **searched(corpus, some, Path(folder)),
        }
    write_json(out, numbers)
    typer.echo(", ".join(f"{name} {value}" for name, value in numbers.items()))


def holds(file: Path) -> bool:
    """Return whether a process can load the whole file under its limit."""
    try:
        return len(np.load(file, allow_pickle=False)) > 0
    except MemoryError:
        return False


def searched(corpus: Corpus, crops: np.ndarray, folder: Path) -> dict[str, float | bool]:
    """Compare the search on the nodes with that in this process."""
    found: list[Retrieved] = []
    with nodes(NODES, folder) as executor:
        on_nodes = seconds(lambda: found.append(corpus.compared(crops, SETTINGS, executor=executor)))
    here = seconds(lambda: found.append(corpus.compared(crops, SETTINGS, executor=LOCAL)))
    same = np.array_equal(found[0].captions, found[1].captions) and np.array_equal(found[0].cosines, found[1].cosines)
    return {"seconds_on_the_nodes": on_nodes, "seconds_in_one_process": here, "same_captions_and_cosines": bool(same)}


if __name__ == "__main__":
    typer.run(main)
