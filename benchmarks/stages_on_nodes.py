"""Run every stage that has shards on three nodes of limited memory, and compare its files with those of one process.

``python -m benchmarks.stages_on_nodes`` needs the checkout of a run (``make repro``) and the extra `ray`. It explains another encoder,
with random weights, whose maps of 960 features do not fit into the memory of any process. The kernel refuses each process
of the cluster, and the process of each stage with shards, more private memory than the limit (``RLIMIT_DATA``).
"""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML

from benchmarks.cluster import seconds, started
from benchmarks.limited_nodes import NODES, holds
from benchmarks.profile_run import copy_project
from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_json
from falcon_dvc.params.load import merge, read_yaml
from trials.tiny import Stage, environment, fingerprints, outputs, remove

OUT = Path("reports/benchmarks/stages_on_nodes.json")
NAME, UNSEEN = "supervised", "simclr"  # the encoder that is explained, and the one that its concepts are carried to
CHECKPOINT = Path("models/wide.safetensors")
PAIR = "wide_to_simclr"
BATCH = 16  # images of a shard of activations: torch reserves 2 GB, so little is left for a batch of 960 maps
SHARED = (
    "build_caption_index",
    "caption_images",
    "embed_images",
    "extract_activations",
    "extract_references",
    "mine_crops",
    "score_concepts",
    "transfer",
    "evaluate_units",
)
ORDER: tuple[Stage, ...] = (
    ("divide_encoders", ()),
    ("fit_basis", (NAME,)),
    ("build_caption_index", ()),
    ("parse_captions", ()),
    ("embed_images", ()),
    ("caption_images", ()),
    ("extract_activations", (NAME,)),
    ("find_groups", (NAME,)),
    ("mine_crops", (NAME,)),
    ("score_concepts", (NAME,)),
    ("extract_references", (NAME,)),
    ("transfer", (PAIR,)),
    ("evaluate_units", (NAME,)),
)


def main(
    features: Annotated[int, typer.Option(min=2, help="Of the encoder.")] = 960,
    explained: Annotated[int, typer.Option(min=1, help="Of them.")] = 8,
    limit: Annotated[int, typer.Option(min=1, help="Bytes of private memory of a process.")] = 2_800_000_000,
    out: Annotated[Path, typer.Option(help="Where the numbers go.")] = OUT,
) -> None:
    """Run the stages in one process, then on the nodes; write the numbers."""
    out = out.resolve()
    os.environ["OMP_NUM_THREADS"] = "1"  # a shard has as many threads as the process beside it
    with tempfile.TemporaryDirectory(prefix="falcon-stages-", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        project = Path(scratch) / "project"
        copy_project(Path.cwd(), project)
        os.chdir(project)
        prepare(project, features, explained)
        here = run(project, {"executor": "local"})
        maps = paths.activations(NAME) / "maps.npy"
        with limited(limit):
            numbers = {
                "nodes": NODES,
                "features": features,
                "bytes_of_the_maps": maps.stat().st_size,
                "bytes_that_a_process_may_hold": limit,
                "one_process_can_hold_the_maps": holds(maps),
            }
        with ExitStack() as stack:
            with limited(limit):
                address = stack.enter_context(started(NODES, Path(scratch)))
            there = run(project, {"executor": "ray", "ray": {"address": address}}, limit)
    write_json(out, numbers | {"stages": compared(here, there)})
    typer.echo(out.read_text())


@contextmanager
def limited(limit: int) -> Iterator[None]:
    """Refuse this process, and those that it starts meanwhile, more private memory."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def prepare(project: Path, features: int, explained: int) -> None:
    """Write an encoder with random weights, and params that explain some of its features."""
    import torch

    from falcon_dvc.models.scenes.checkpoints import load_encoder_checkpoint, save_encoder
    from falcon_dvc.models.scenes.small_resnet import SmallResNet

    content = read_yaml(project / "params.yaml")
    heads = load_encoder_checkpoint(project / content["encoders"][NAME]["checkpoint"]).config["heads"]
    torch.manual_seed(0)
    save_encoder(project / CHECKPOINT, SmallResNet(8, (features,), heads), {})
    wide = {"checkpoint": str(CHECKPOINT), "features": {"random": explained}}
    merge(content, {"encoders": {NAME: wide}, "evaluate_units": {"encoders": [NAME]}})
    merge(content, {"extract_activations": {"batch_size": BATCH}})
    merge(content, {"transfers": {**dict.fromkeys(content["transfers"]), PAIR: {"explained": NAME, "unseen": UNSEEN}}})
    write_params(project, content)


def write_params(project: Path, content: dict[str, Any]) -> None:
    """Replace params.yaml, which may be a link."""
    path = project / "params.yaml"
    path.unlink()
    with path.open("w") as file:
        YAML().dump(content, file)


def run(
    project: Path, where: dict[str, Any], limit: int = resource.RLIM_INFINITY
) -> dict[str, tuple[float, dict[str, str]]]:
    """Run the stages in their order; return the seconds and the hashes of the files of those that have shards."""
    content = read_yaml(project / "params.yaml")
    merge(content, where)
    write_params(project, content)
    found = {}
    for stage in ORDER:
        remove([project / path for path in outputs(stage)])
        with limited(limit) if stage[0] in SHARED else nullcontext():
            took = seconds(partial(_stage, project, stage))
        if stage[0] in SHARED:
            found[stage[0]] = took, dict(_files(project, outputs(stage)))
    return found


def _stage(project: Path, stage: Stage) -> None:
    name, key = stage
    typer.echo(f"{name} ...", err=True)
    command = [sys.executable, "-m", "stages", name, *key]
    subprocess.run(command, cwd=project, check=True, env=environment(), stdout=subprocess.DEVNULL)


def _files(project: Path, made: Sequence[Path]) -> Iterator[tuple[str, str]]:
    for path, digest in fingerprints(project).items():
        if any(Path(path).is_relative_to(one) for one in made):
            yield path, digest


def compared(here: dict[str, Any], there: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a row for each stage: its seconds in one process and on the nodes, and whether all its files are the same."""
    return {
        name: {
            "seconds_in_one_process": here[name][0],
            "seconds_on_the_nodes": there[name][0],
            "files": len(here[name][1]),
            "same_files": here[name][1] == there[name][1],
        }
        for name in here
    }


if __name__ == "__main__":
    typer.run(main)
