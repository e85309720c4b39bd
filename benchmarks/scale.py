"""Estimate the time of LAION-400M and ImageNet-1k on 1, 8 and 64 machines from measured rates, and write it to docs/scale.md.

``python -m benchmarks.scale`` reads ``speed.json``, ``rates.json`` and ``stages_on_nodes.json`` of reports/benchmarks,
reports/reliability/load.json, the case of sixteen thousand latents in docs/memory.md, and `MEMORY` of trials/load.py; nothing here was
run at that size. What a machine is, and costs, is assumed: `Machine`.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from falcon_dvc.artifacts.formats import read_json, write_text
from falcon_dvc.concepts.retrieval.nearest import CROPS_AT_ONCE
from falcon_dvc.concepts.scoring.corpus import CAPTIONS_AT_ONCE
from trials.load import allowed_bytes

ROOT = Path(__file__).resolve().parents[1]

FOLDER, PAGE = ROOT / "reports" / "benchmarks", ROOT / "docs" / "scale.md"
LATENTS = ROOT / "docs" / "memory.md"  # the page with the case of sixteen thousand latents
ROW = re.compile(r"^\| `(\w+)`(?:, one copy)? \| (\d+) s \|", re.MULTILINE)
MEASURED, BEGIN = "<!-- table of the measured stages: benchmarks/scale.py -->", "<!-- table: benchmarks/scale.py -->"
END = "<!-- end -->"
NODES = 1, 8, 64
MEASURED_CORES = 2  # of the machine that left reports/reliability/load.json
TEXT_BYTES, IMAGE_BYTES = 100, 110_000  # of a caption of LAION, of a JPEG of ImageNet: of the order of


@dataclass(frozen=True)
class Machine:
    """One node of the cluster of the estimate."""

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
    cores : that it uses; None: all of all nodes, as it has shards.
    memory_gb : of the process of the stage.
    """

    name: str
    core_seconds: float
    read_gb: float
    gathered_gb: float
    cores: int | None
    memory_gb: float

    def hours(self, nodes: int, machine: Machine) -> float:
        """Return the longest of computing, reading and gathering."""
        used = 1 if self.cores else nodes
        computing = self.core_seconds / (self.cores or nodes * machine.cores)
        reading = self.read_gb / min(machine.store_gb, used * machine.network_gb)
        return max(computing, reading, self.gathered_gb / machine.network_gb) / 3600


def laion(
    speed: dict, load: dict, crops: int = 220_000, captions: float = 400e6, dim: int = 512, k: int = 5
) -> list[Step]:
    """Captioning the crops of 1000 features against LAION-400M, its embeddings in half precision."""
    search = (
        speed["threads"] * speed["captions"]["ours"]["seconds"] / (1000 * 1e6)
    )  # core-seconds for a crop and a caption
    embeddings_gb, texts_gb = captions * dim * 2e-9, captions * TEXT_BYTES * 1e-9
    # Of captions in random order, each of the k nearest so far is displaced about log(shards) times: a pair of numbers and a cosine.
    found_gb = crops * k * math.log(captions / CAPTIONS_AT_ONCE) * 24e-9
    sizes = {"C": captions, "T": CAPTIONS_AT_ONCE * CROPS_AT_ONCE, "K": crops, "B": 65_536, "d": dim}

    def alone(name: str, read_gb: float) -> Step:
        seconds = load["stages"][name]["seconds"] * captions / load["sizes"]["C"]
        return _alone(name, seconds, read_gb, allowed_bytes(name, sizes) / 1e9)

    memory = allowed_bytes("score_concepts", sizes) / 1e9
    return [
        alone("build_caption_index", embeddings_gb + texts_gb),
        alone("parse_captions", texts_gb),
        Step("`score_concepts`", search * crops * captions, embeddings_gb, found_gb, None, memory),
    ]


def imagenet(rates: dict, load: dict, images: float = 1.28e6, features: int = 2048) -> list[Step]:
    """Return a ResNet-50 over the training images."""
    passes = images * rates["cores"] / rates["per_second"]["resnet50 (torchvision), features and maps"]
    features_gb = images * features * 4e-9
    gathered_gb = images * features * 49 * 2e-9 + features_gb
    seconds = load["stages"]["find_groups"]["seconds"] * images / load["sizes"]["N"]
    memory = allowed_bytes("find_groups", {"N": images, "r": features, "S": 256}) / 1e9
    return [
        Step("`extract_activations`, ResNet-50", passes, images * IMAGE_BYTES * 1e-9, gathered_gb, None, 2),
        _alone("find_groups", seconds, features_gb, memory),
    ]


@dataclass(frozen=True)
class Case:
    """The measured case of sixteen thousand latents.

    Attributes
    ----------
    images, probe, heldout : images in all, those that the groups are made of, and the others.
    stored_gb : features and maps.
    find_groups_gb : memory of `find_groups` for so many probe images.
    crops : of the features and groups that were explained.
    """

    images: int = 10_000
    probe: int = 6001
    heldout: int = 4000
    stored_gb: float = 0.418
    find_groups_gb: float = 1.6
    crops: int = 224_797


def latents(
    speed: dict,
    rates: dict,
    seconds: dict[str, int],
    images: float = 1.28e6,
    heldout: float = 50_000,
    captions: float = 1e6,
) -> list[Step]:
    """Return 16 384 TopK latents over the training images: the measured case, times the images; a CLIP ViT-B/32 embeds and captions."""
    case = Case()
    times, of_heldout = images / case.images, heldout / case.heldout
    passes = rates["cores"] / rates["per_second"]["ViT-B-32 (open_clip), images"]
    search = speed["threads"] * speed["captions"]["ours"]["seconds"] / (1000 * 1e6) * captions
    pictures_gb, captions_gb, row_gb = images * IMAGE_BYTES * 1e-9, captions * 512 * 4e-9, 512 * 4e-9

    def alone(name: str, factor: float, memory_gb: float) -> Step:
        return Step(f"`{name}`", seconds[name] * factor, 0, 0, 1, memory_gb)

    return [
        Step(
            "`extract_activations`",
            seconds["extract_activations"] * times,
            pictures_gb,
            case.stored_gb * times,
            None,
            2,
        ),
        alone("find_groups", images / case.probe, case.find_groups_gb * images / case.probe),
        Step("`embed_images`, ViT-B/32", images * passes, pictures_gb, images * row_gb, None, 2),
        Step("`caption_images`, a million captions", images * search, captions_gb, 0, None, 4),
        Step(
            "`mine_crops`, ViT-B/32",
            case.crops * passes + seconds["mine_crops"],
            case.crops * IMAGE_BYTES * 1e-9,
            case.crops * row_gb,
            None,
            2,
        ),
        Step("`score_concepts`, a million captions", case.crops * search, captions_gb, 0, None, 4),
        Step(
            "`extract_references`, a copy",
            seconds["extract_references"] * of_heldout,
            heldout * IMAGE_BYTES * 1e-9,
            0,
            None,
            2,
        ),
        alone("find_facets", of_heldout, 2),
        alone("measure_quantiles", of_heldout, 2),
        alone("report", 1, 2),
    ]


def seconds_of_latents(page: str) -> dict[str, int]:
    """Read the processor time of each stage in the measured case."""
    section = page.split("## Sixteen thousand latents")[1].split("\n## ")[0]
    return {name: int(seconds) for name, seconds in ROW.findall(section)}


def measured(stages: dict[str, dict]) -> Iterator[str]:
    """Yield a table of the stages that have shards, as they ran on three nodes."""
    yield "| stage | in one process | on three nodes | files | the same bytes |"
    yield "|---|---|---|---|---|"
    for name, one in stages.items():
        here, there = one["seconds_in_one_process"], one["seconds_on_the_nodes"]
        yield f"| `{name}` | {here:.1f} s | {there:.1f} s | {one['files']} | {'all' if one['same_files'] else '**not all**'} |"


def _alone(name: str, seconds: float, read_gb: float, memory_gb: float) -> Step:
    """Return a stage without shards: it takes what it takes on the two cores where it was measured."""
    return Step(f"`{name}`", seconds * MEASURED_CORES, read_gb, 0, MEASURED_CORES, memory_gb)


def rows(title: str, steps: list[Step], machine: Machine) -> Iterator[str]:
    """Yield a table of one task."""
    yield f"\n**{title}**\n"
    yield (
        "| stage | core-hours | read | comes back | memory of its process | "
        + " | ".join("1 node" if n == 1 else f"{n} nodes" for n in NODES)
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
    page = PAGE.read_text(encoding="utf-8")
    for begin, table in (
        (MEASURED, "\n".join(measured(read_json(FOLDER / "stages_on_nodes.json")["stages"]))),
        (BEGIN, tables()),
    ):
        before, rest = page.split(begin)
        page = before + begin + "\n" + table + "\n\n" + END + rest.split(END, 1)[1]
    write_text(PAGE, page)


def tables() -> str:
    """Return the tables of the estimates, from the files that are there."""
    seconds = seconds_of_latents(LATENTS.read_text(encoding="utf-8"))
    speed, rates = read_json(FOLDER / "speed.json"), read_json(FOLDER / "rates.json")
    load, machine = read_json(ROOT / "reports" / "reliability" / "load.json"), Machine()
    return "\n".join(
        [
            *rows("LAION-400M: 220 000 crops (1000 features), every caption", laion(speed, load), machine),
            *rows("ImageNet-1k: 1.28 million training images", imagenet(rates, load), machine),
            *rows("16 384 TopK latents, 1.28 million training images", latents(speed, rates, seconds), machine),
        ]
    )


if __name__ == "__main__":
    typer.run(main)
