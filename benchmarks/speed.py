"""Compare the speed of this project with the released algorithms (benchmarks/released.py): same inputs, same threads, one run.

``python -m benchmarks.speed run``, on an idle machine, after `make repro`; results go to ``reports/benchmarks/speed.json``.
Each side runs in a process of its own: once uncounted, then `repeats` times. Its memory is what the work adds to the inputs.
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from threadpoolctl import threadpool_info

from benchmarks.works import WORKS, Inputs, Work
from falcon_dvc.artifacts.formats import read_json, write_json
from falcon_dvc.params.yaml_file import read_yaml

ROOT = Path(__file__).resolve().parents[1]

OUT = ROOT / "reports" / "benchmarks" / "speed.json"
WITHOUT_TORCH = (
    "collect_images",
    "find_groups",
    "parse_captions",
    "score_concepts",
    "analyse_groups",
    "measure_explainability",
    "evaluate_concepts",
    "transfer",
    "failures",
    "report",
)
app = typer.Typer(add_completion=False)


@app.command()
def run(
    out: Annotated[Path, typer.Option(help="JSON file of the results; works that are not run keep theirs.")] = OUT,
    only: Annotated[list[str] | None, typer.Option(help="Works to run; all if not given.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Of each side, after one that is not counted.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Of both sides.")] = len(os.sched_getaffinity(0)),
) -> None:
    """Time all works, the start of the stages, `dvc repro` with nothing to do, and what bounds them."""
    found = read_json(out) if out.exists() else {}
    found["threads"], found["repeats"], found["kernels"] = threads, repeats, kernels()
    for name in only or [*WORKS, *PRODUCTS, *PROCESSES]:
        typer.echo(f"{name} ...", err=True)
        if name in PRODUCTS:
            found[name] = _elsewhere(name, "product", repeats, threads)
        else:
            found[name] = PROCESSES[name](repeats) if name in PROCESSES else compared(name, repeats, threads)
        write_json(out, found)
        typer.echo(json.dumps(found[name]), err=True)


def kernels() -> str:
    """Return for which processors the kernels are by which numpy multiplies matrices: OpenBLAS chooses them, or its environment."""
    import numpy  # noqa: F401

    return ", ".join(info["architecture"] for info in threadpool_info() if info["internal_api"] == "openblas")


def compared(name: str, repeats: int, threads: int) -> dict[str, Any]:
    """Return both sides of a work, and how much of their results is the same."""
    work = WORKS[name]
    reference, ours = (_elsewhere(name, side, repeats, threads) for side in ("reference", "ours"))
    return {
        "reference": reference,
        "ours": ours,
        "times_faster": reference["seconds"] / ours["seconds"],
        "share_measured": work.share,
        "same": _elsewhere(name, "same", 1, threads)["same"],
    }


def _elsewhere(name: str, side: str, repeats: int, threads: int) -> dict[str, Any]:
    """One side in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.speed", "once", name, side, str(repeats)]
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **limits}, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


@app.command(hidden=True)
def once(name: str, side: str, repeats: int) -> None:
    """Measure one side, or compare both at the small size."""
    if side == "product":
        typer.echo(json.dumps(product(*PRODUCTS[name], repeats)))
    elif side == "same":
        typer.echo(json.dumps({"same": same(WORKS[name])}))
    else:
        typer.echo(json.dumps(timed_side(WORKS[name], side, repeats)))


def same(work: Work) -> float:
    """Return the share of the results of the small inputs that are the same.

    Raises
    ------
    RuntimeError
        If it is less than the work demands.
    """
    inputs = work.make(False)
    found = work.same(work.reference(inputs, work.small_share), (work.checked or work.ours)(inputs))
    if found < work.least:
        raise RuntimeError(f"{work.title}: {found:.4f} of the results are the same, {work.least} demanded")
    return found


def timed_side(work: Work, side: str, repeats: int) -> dict[str, Any]:
    """Return the seconds of the full work (median, least, most) and megabytes that it adds."""
    inputs = work.make(True)
    do: Callable[[Inputs], Any] = (lambda some: work.reference(some, work.share)) if side == "reference" else work.ours
    share = work.share if side == "reference" else 1.0
    before = _forget_peak()
    do(inputs)
    peak = _status("VmHWM") - before
    seconds = [elapsed(lambda: do(inputs)) / share for _ in range(repeats)]
    return {**spread(seconds), "added_mb": round(max(peak, 0) / 1e3, 1)}


def elapsed(do: Callable[[], Any]) -> float:
    """Return the seconds that it takes."""
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def spread(seconds: list[float]) -> dict[str, float]:
    """Return the median, smallest and largest."""
    return {"seconds": statistics.median(seconds), "least": min(seconds), "most": max(seconds)}


def _forget_peak() -> int:
    """Return the resident memory now, in kB; the peak is counted from here."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def product(name: str, left: str, right: str, repeats: int) -> dict[str, Any]:
    """Return the matrix product alone of two inputs of a work, by numpy and by torch: what makes it cannot be faster."""
    import torch

    from falcon_dvc.concepts.scoring.corpus import CAPTIONS_AT_ONCE

    inputs = WORKS[name].make(True)
    one, other = inputs[left], inputs[right]
    parts = [other[start : start + CAPTIONS_AT_ONCE] for start in range(0, len(other), CAPTIONS_AT_ONCE)]
    of_torch = [torch.from_numpy(part) for part in parts]
    by = {
        "numpy": lambda: [one @ part.T for part in parts],
        "torch": lambda: [torch.from_numpy(one) @ part.T for part in of_torch],
    }
    found = {}
    for library, do in by.items():
        do()
        found[library] = spread([elapsed(do) for _ in range(repeats)])
        found[library]["gflops"] = 2e-9 * len(one) * other.size / found[library]["seconds"]
    return found


def starts(repeats: int) -> dict[str, Any]:
    """Return the seconds from the start of a process until a stage that needs no torch could begin."""
    return {
        stage: _starts(f"import sys, stages.{stage}; sys.exit('torch' in sys.modules)", repeats)
        for stage in WITHOUT_TORCH
    }


def start_of_libraries(repeats: int) -> dict[str, float]:
    """Return the seconds until the libraries of tables and sparse matrices are there, which most stages need."""
    return _starts("import pandas, scipy.sparse", repeats)


def _starts(code: str, repeats: int) -> dict[str, float]:
    """Run code in new processes; raise if one fails."""
    command = [sys.executable, "-c", code]
    return spread([elapsed(lambda: subprocess.run(command, cwd=ROOT, check=True)) for _ in range(repeats + 1)][1:])


def no_op(repeats: int) -> dict[str, float]:
    """Return the seconds of `dvc repro` with nothing to do.

    Raises
    ------
    RuntimeError
        If there is something to do: it would be done.
    """
    if subprocess.run([sys.executable, "-m", "dvc", "status", "-q"], cwd=ROOT).returncode:
        raise RuntimeError(
            "dvc status: some stages are stale, so there is no run with nothing to do; run `make repro` first"
        )
    return _repro(ROOT, repeats)


def no_op_of_one_stage(repeats: int) -> dict[str, float]:
    """Return the same in a project of one stage without dependencies: what is DVC's own."""
    with tempfile.TemporaryDirectory() as place:
        dvc = [sys.executable, "-m", "dvc"]
        subprocess.run([*dvc, "init", "-q", "--no-scm"], cwd=place, check=True)
        write_json(Path(place) / "dvc.yaml", {"stages": {"one": {"cmd": "echo one > one", "outs": ["one"]}}})
        return _repro(Path(place), repeats)


def no_op_of_small_stages(repeats: int) -> dict[str, float]:
    """Return the same in a project of as many stages as this one, each with one param and one output."""
    count = len(read_yaml(ROOT / "dvc.lock", by_dvc=True)["stages"])
    with tempfile.TemporaryDirectory() as place:
        dvc = [sys.executable, "-m", "dvc"]
        subprocess.run([*dvc, "init", "-q", "--no-scm"], cwd=place, check=True)
        shutil.copy(ROOT / "params.yaml", place)
        stage = {"cmd": "cp params.yaml ${item}", "params": ["device"], "outs": ["${item}"]}
        names = [f"out_{number}" for number in range(count)]
        write_json(Path(place) / "dvc.yaml", {"stages": {"one": {"foreach": names, "do": stage}}})
        return {**_repro(Path(place), repeats), "stages": count}


def _repro(place: Path, repeats: int) -> dict[str, float]:
    """Return the seconds of `dvc repro` after one that is not counted."""
    command = [sys.executable, "-m", "dvc", "repro", "-q"]
    return spread([elapsed(lambda: subprocess.run(command, cwd=place, check=True)) for _ in range(repeats + 1)][1:])


# Their names in the results: a work, and the inputs that are multiplied.
PRODUCTS = {"product": ("captions", "crops", "texts"), "soft_wpmi_product": ("soft_wpmi", "images", "concepts")}
PROCESSES = {
    "start": starts,
    "start_of_libraries": start_of_libraries,
    "no_op": no_op,
    "no_op_of_one_stage": no_op_of_one_stage,
    "no_op_of_small_stages": no_op_of_small_stages,
}


if __name__ == "__main__":
    app()
