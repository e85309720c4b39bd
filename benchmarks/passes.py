"""Measure the parts of an encoder's pass over images: decoding, preparing, the network; one after the other, and overlapped.

``python -m benchmarks.passes`` takes about five minutes on two cores. The pictures are made up, and so are the weights, which
changes no rate. On a GPU it also measures half precision, and how many threads decode as fast as the GPU computes.
"""

import json
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from PIL import Image

from falcon_dvc.artifacts.formats import write_array, write_json, write_table
from falcon_dvc.compute.device import all_devices, best_device, computing_in
from falcon_dvc.images.packed import PackedImages
from falcon_dvc.images.source import FolderImages, ImageSource
from falcon_dvc.models.encoders.load import load_encoder
from falcon_dvc.models.encoders.passes import activations, prepared
from falcon_dvc.threads import WORKERS

ROOT = Path(__file__).resolve().parents[1]

OUT = ROOT / "reports" / "benchmarks" / "passes.json"
PHOTO = 640, 480  # pixels, as the photographs of many data sets
SCENE = 64
STRUCTURE = (
    40  # pixels between two independent colours of a picture: noise would take longer to decode than photographs
)
PRECISIONS = ("float32", "bfloat16", "float16")
Measures = dict[str, Callable[[], object]]


def main(
    out: Annotated[Path, typer.Option(help="JSON file of the results.")] = OUT,
    images: Annotated[int, typer.Option(min=2, help="Pictures of each kind.")] = 200,
    repeats: Annotated[int, typer.Option(min=1, help="Measurements of each rate, after one that is not counted.")] = 5,
    batch: Annotated[int, typer.Option(min=1, help="Images at once.")] = 64,
) -> None:
    """Measure all rates and write them to a file."""
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), networks(Path(folder)), images, repeats, batch)
    write_json(out, found)
    typer.echo(json.dumps(found, indent=2))


def measured(folder: Path, encoders: dict[str, Any], images: int, repeats: int, batch: int) -> dict[str, Any]:
    """Return all rates in images per second; the pictures are written to `folder`.

    Parameters
    ----------
    encoders : entries of the param ``encoders`` by name; those of kind scenes see the small pictures.
    """
    photos, scenes = make_photos(folder / "photos", images), make_scenes(folder / "scenes", images)
    decoding: Measures = {
        f"{workers}_threads": partial(photos.load_many, range(images), workers) for workers in numbers_of_threads()
    }
    return {
        **machine(),
        "images": images,
        "batch": batch,
        "repeats": repeats,
        "decode": rates(decoding, images, repeats),
        "encoders": {
            name: of_encoder(spec, scenes if spec.kind == "scenes" else photos, repeats, batch)
            for name, spec in encoders.items()
        },
    }


def machine() -> dict[str, Any]:
    """Return what the rates are of."""
    device = best_device()
    named = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    return {
        "device": named,
        "devices": len(all_devices()),
        "cores": WORKERS,
        "threads_of_torch": torch.get_num_threads(),
    }


def numbers_of_threads() -> list[int]:
    """1, 2, 4 and so on, and all."""
    return sorted({min(2**power, WORKERS) for power in range(WORKERS.bit_length() + 1)})


def of_encoder(spec: Any, source: ImageSource, repeats: int, batch: int) -> dict[str, Any]:
    """Return the rates of one encoder: each part of a pass alone, the parts one after the other, and the overlapped pass."""
    replicas = [load_encoder(spec, device) for device in all_devices()]
    encoder, count = replicas[0], len(source)
    batches = [range(start, min(start + batch, count)) for start in range(0, count, batch)]
    pictures = source.load_many(batches[0])
    ready = encoder.prepare(pictures)
    found: dict[str, Any] = rates({"prepare": lambda: encoder.prepare(pictures)}, len(pictures), repeats)
    found |= rates(forward_passes(encoder, ready), len(pictures), repeats)
    found |= rates(
        {
            "in_turn": lambda: _all_of(lambda: (encoder.activations(source.load_many(rows)) for rows in batches)),
            "overlapped": lambda: _all_of(lambda: activations(source, replicas, batches)),
        },
        count,
        repeats,
    )
    found["made_ready"] = rates(
        {
            f"{workers}_threads": partial(_all_of, partial(prepared, source, encoder, batches, workers=workers))
            for workers in numbers_of_threads()
        },
        count,
        repeats,
    )
    found["memory_order"] = rates(memory_orders(encoder, ready), len(pictures), repeats)
    return found | feeding(found)


def _all_of(batches: Callable[[], Iterable]) -> None:
    """Iterate over all batches and keep none."""
    deque(batches(), maxlen=0)


def forward_passes(encoder: Any, ready: torch.Tensor) -> Measures:
    """Return the network alone, in each precision; a CPU has instructions for bfloat16, if any."""

    def forward(precision: str) -> object:
        with computing_in(precision, encoder.device):
            return encoder.forward(ready)

    half = PRECISIONS[1:] if encoder.device != "cpu" else PRECISIONS[1:2]
    return {"forward": lambda: forward("float32")} | {
        f"forward_{precision}": partial(forward, precision) for precision in half
    }


def feeding(found: dict[str, Any]) -> dict[str, int]:
    """Return the least number of threads that prepare images as fast as the network computes, for each precision, if any."""
    ready = {int(name.split("_")[0]): one["median"] for name, one in found["made_ready"].items()}
    needed: dict[str, int] = {}
    for name in (name for name in found if name.startswith("forward")):
        enough = [threads for threads, rate in ready.items() if rate >= found[name]["median"]]
        needed |= {f"threads_that_feed_{name}": min(enough)} if enough else {}
    return needed


def memory_orders(encoder: Any, ready: torch.Tensor) -> Measures:
    """Return the network itself on the same images, weights and images with the channels last in memory, or first."""
    module, call, batch = _module(encoder, ready.to(encoder.device))

    def run(order: torch.memory_format) -> None:
        with torch.inference_mode():
            call(module[order], batch.contiguous(memory_format=order)).cpu()

    return {
        "channels_last": lambda: run(torch.channels_last),
        "contiguous": lambda: run(torch.contiguous_format),
    }


def _module(encoder: Any, ready: torch.Tensor) -> tuple[dict[torch.memory_format, Any], Callable, torch.Tensor]:
    """Return the network of an encoder in both orders, how it is called, and what it is called with."""
    from copy import deepcopy

    network = encoder._network
    module = getattr(network, "module", network)
    orders = {
        order: deepcopy(module).to(memory_format=order) for order in (torch.channels_last, torch.contiguous_format)
    }
    if hasattr(module, "extract_features"):
        return orders, lambda some, batch: torch.cat([some.extract_features(part) for part in batch.split(16)]), ready
    if hasattr(module, "maps"):
        from falcon_dvc.models.scenes.small_resnet import unit_images

        return orders, lambda some, batch: some.maps(batch), unit_images(ready)
    return orders, lambda some, batch: some(batch), ready


def rates(measures: Measures, items: int, repeats: int) -> dict[str, dict[str, float]]:
    """Return the items per second of each function: median, least and most. The functions alternate, so that other load affects all."""
    seconds: dict[str, list[float]] = {name: [] for name in measures}
    for repeat in range(repeats + 1):
        for name, measure in measures.items():
            start = time.perf_counter()
            measure()
            if repeat:  # the first time, memory is taken and code chosen
                seconds[name].append(time.perf_counter() - start)
    return {name: summary([items / each for each in taken]) for name, taken in seconds.items()}


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return the median, least and most, to three digits."""
    found = {"median": float(np.median(values)), "least": min(values), "most": max(values)}
    return {name: float(f"{value:.3g}") for name, value in found.items()}


def networks(folder: Path) -> dict[str, Any]:
    """Return the encoders to measure: that of the synthetic data set, a ResNet-18, and EfficientNet-Lite0 if it is installed."""
    from pydantic import TypeAdapter

    from falcon_dvc.params.schema import EncoderSpec

    resnet = {"kind": "torchvision", "name": "resnet18", "weights": "random"}
    found = {
        "scenes": untrained(folder / "scenes.safetensors", 32, (64, 128)),
        "resnet18": TypeAdapter(EncoderSpec).validate_python(resnet),
    }
    if find_spec("efficientnet_lite_pytorch"):
        found["efficientnet_lite0"] = SimpleNamespace(kind="efficientnet_lite", variant=0)
    return found


def untrained(path: Path, stem: int, widths: tuple[int, ...]) -> SimpleNamespace:
    """Return an encoder of the synthetic data set, of a given size."""
    from falcon_dvc.models.scenes.checkpoints import save_encoder
    from falcon_dvc.models.scenes.small_resnet import SmallResNet

    save_encoder(path, SmallResNet(stem, widths, {}), {})
    return SimpleNamespace(kind="scenes", checkpoint=str(path))


def make_photos(folder: Path, count: int) -> ImageSource:
    """Return JPEG files that take as long to decode as photographs."""
    folder.mkdir()
    names = [f"{row}.jpg" for row in range(count)]
    for row, name in enumerate(names):
        Image.fromarray(_smooth(row, *PHOTO)).save(folder / name, quality=90)
    return FolderImages(folder, names)


def make_scenes(folder: Path, count: int) -> ImageSource:
    """Return small pictures in one array, as in the synthetic data set."""
    folder.mkdir()
    write_array(folder / "images.npy", np.stack([_smooth(row, SCENE, SCENE) for row in range(count)]))
    write_table(folder / "attributes.parquet", pd.DataFrame({"image": [str(row) for row in range(count)]}))
    return PackedImages(folder)


def _smooth(seed: int, width: int, height: int) -> np.ndarray:
    """Return random colours, blurred, with a little noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // STRUCTURE + 2, width // STRUCTURE + 2, 3), dtype=np.uint8)
    smooth = np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    return np.clip(smooth + rng.integers(-8, 9, smooth.shape), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    typer.run(main)
