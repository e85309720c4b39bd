"""Works out what LAION-400M and ImageNet-1k take on 1, 8 and 64 machines, from measured rates, and writes it into docs/scale.md.

``python benchmarks/scale.py`` reads ``speed.json`` and ``rates.json`` of reports/benchmarks, reports/reliability/load.json, and `MEMORY` of
benchmarks/load.py; nothing here was run at that size. What a machine is, and costs, is assumed: `Machine`.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.load import allowed_bytes  # noqa: E402
from stages.common.artifacts import read_json, write_text  # noqa: E402
from stages.method.retrieval import CROPS_AT_ONCE  # noqa: E402

FOLDER, PAGE = ROOT / "reports" / "benchmarks", ROOT / "docs" / "scale.md"
BEGIN, END = "<!-- table: benchmarks/scale.py -->", "<!-- end -->"
NODES = 1, 8, 64


@dataclass(frozen=True)
class Machine:
    """One node of the cluster that is worked out."""

    cores: int = 16
    memory_gb: float = 64.0
    network_gb: float = 1.25  # a second, 10 Gbit/s
    store_gb: float = 5.0  # a second, that the shared file system gives to all nodes together
    price: float = 0.05  # dollars for a core and an hour


@dataclass(frozen=True)
class Step:
    """A stage at this size.

    Attributes
    ----------
    core_seconds : of computing, on one core.
    read_gb : from the shared file system, by all nodes together.
    gathered_gb : that come back to the process of the stage.
    distributed : whether it has shards for other machines.
    memory_gb : of the process of the stage.
    """

    name: str
    core_seconds: float
    read_gb: float
    gathered_gb: float
    distributed: bool
    memory_gb: float

    def hours(self, nodes: int, machine: Machine) -> float:
        """The longest of computing, reading and gathering."""
        used = nodes if self.distributed else 1
        cores = machine.cores if self.distributed else 1
        computing = self.core_seconds / (used * cores)
        reading = self.read_gb / min(machine.store_gb, used * machine.network_gb)
        return max(computing, reading, self.gathered_gb / machine.network_gb) / 3600


def laion(speed: dict, crops: int = 220_000, captions: float = 400e6, dim: int = 512) -> list[Step]:
    """Captioning the crops of 1000 features against LAION-400M, its embeddings in half precision."""
    cores, search, words = speed["threads"], speed["captions"]["ours"], speed["words"]["ours"]
    pairs = cores * search["seconds"] / (1000 * 1e6)  # core-seconds for a crop and a caption
    gb = captions * dim * 2e-9
    again = -(-crops // CROPS_AT_ONCE)
    sizes = {"C": captions, "T": 16_384 * CROPS_AT_ONCE, "K": crops, "B": 65_536, "d": dim}
    of = {
        name: allowed_bytes(name, sizes) / 1e9 for name in ("build_caption_index", "parse_captions", "score_concepts")
    }
    return [
        Step(
            "`build_caption_index` (embeddings given)",
            captions * 13e-6 * cores,
            gb,
            0,
            False,
            of["build_caption_index"],
        ),
        Step("`parse_captions`", captions * words["seconds"] / 100_000, 40, 0, False, of["parse_captions"]),
        Step(
            f"`score_concepts` ({again} blocks of crops)", pairs * crops * captions, gb, 1, True, of["score_concepts"]
        ),
    ]


def imagenet(rates: dict, load: dict, images: float = 1.28e6, features: int = 2048) -> list[Step]:
    """A ResNet-50 over the training images."""
    passes = images * rates["cores"] / rates["per_second"]["resnet50 (torchvision), features and maps"]
    features_gb = images * features * 4e-9
    gathered = images * features * 49 * 2e-9 + features_gb
    grouping = load["stages"]["find_groups"]["seconds"] * images / load["sizes"]["N"]
    memory = allowed_bytes("find_groups", {"N": images, "r": features, "S": 256}) / 1e9
    return [
        Step("`extract_activations`, ResNet-50", passes, images * 110e-6, gathered, True, 2),
        Step("`find_groups`", grouping, features_gb, 0, False, memory),
    ]


def rows(title: str, steps: list[Step], machine: Machine) -> Iterator[str]:
    """A table of one task."""
    yield f"\n**{title}**\n"
    yield (
        "| stage | core-hours | read | comes back | memory of its process | "
        + " | ".join(f"{n} nodes" for n in NODES)
        + " |"
    )
    yield "|---" * (5 + len(NODES)) + "|"
    for step in steps:
        fits = "" if step.memory_gb <= machine.memory_gb else " **(does not fit)**"
        times = " | ".join(f"{step.hours(n, machine):.2g} h" for n in NODES)
        yield (
            f"| {step.name} | {step.core_seconds / 3600:.3g} | {step.read_gb:.0f} GB | {step.gathered_gb:.3g} GB "
            f"| {step.memory_gb:.3g} GB{fits} | {times} |"
        )
    hours = {n: sum(step.hours(n, machine) for step in steps) for n in NODES}
    cost = " | ".join(f"{hours[n]:.2g} h, ${hours[n] * n * machine.cores * machine.price:.0f}" for n in NODES)
    yield f"| in all, every node paid from the first stage to the last | | | | | {cost} |"


def main() -> None:
    """Replace the tables of docs/scale.md."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    write_text(PAGE, before + BEGIN + "\n" + tables() + "\n\n" + END + rest.split(END)[1])


def tables() -> str:
    """Both tables, from the files that are there."""
    speed, rates = read_json(FOLDER / "speed.json"), read_json(FOLDER / "rates.json")
    load, machine = read_json(ROOT / "reports" / "reliability" / "load.json"), Machine()
    return "\n".join(
        [
            *rows("LAION-400M: 220 000 crops (1000 features), every caption", laion(speed), machine),
            *rows("ImageNet-1k: 1.28 million training images", imagenet(rates, load), machine),
        ]
    )


if __name__ == "__main__":
    typer.run(main)
