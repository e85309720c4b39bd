"""How many images and captions a second this machine encodes: what docs/imagenet.md and docs/scale.md are made of.

``python -m benchmarks.rates`` takes some minutes on two cores. Weights are random, which changes no rate.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from falcon_dvc.artifacts.formats import write_json
from falcon_dvc.compute.device import best_device
from falcon_dvc.models.encoders.load import load_encoder

ROOT = Path(__file__).resolve().parents[1]

OUT = ROOT / "reports" / "benchmarks" / "rates.json"
BATCH = 32
NETWORKS = {
    "resnet50 (torchvision), features and maps": {"kind": "torchvision", "name": "resnet50", "weights": "random"},
    "vit_small_patch16_224 (timm), patch tokens": {
        "kind": "timm",
        "name": "vit_small_patch16_224",
        "weights": "random",
    },
}
CAPTION = "a brown dog that lies on a red sofa beside a window"


def main(
    repeats: Annotated[int, typer.Option(min=3, help="Batches of each network, after one that is not counted.")] = 5,
    out: Annotated[Path, typer.Option(help="JSON file of the results.")] = OUT,
) -> None:
    """Write images and captions a second, the median over batches."""
    images = list(np.random.default_rng(0).integers(0, 256, (BATCH, 256, 256, 3), dtype=np.uint8))
    rates = {name: rate(encoder(spec).activations, images, repeats) for name, spec in NETWORKS.items()}
    clip = image_text()
    rates["ViT-B-32 (open_clip), images"] = rate(clip.embed_images, images, repeats)
    rates["ViT-B-32 (open_clip), captions"] = rate(clip.embed_texts, [CAPTION] * BATCH, repeats)
    found = {"device": best_device(), "cores": len(os.sched_getaffinity(0)), "per_second": rates}
    write_json(out, found)
    typer.echo(json.dumps(found, indent=2))


def encoder(given: dict):
    """Measure an encoder in the way in which the stage extract_activations runs it."""
    from pydantic import TypeAdapter

    from falcon_dvc.params.schema import EncoderSpec

    spec = TypeAdapter(EncoderSpec).validate_python(given)
    return load_encoder(spec, best_device(), "rates")


def image_text():
    """Measure the image-text encoder of the paper's setting, with random weights."""
    import open_clip

    from falcon_dvc.models.encoders.preparation import Preparation
    from falcon_dvc.models.image_text.load import OpenClip

    model, *_ = open_clip.create_model_and_transforms("ViT-B-32")
    preparation = Preparation(size=224, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    return OpenClip(model, open_clip.get_tokenizer("ViT-B-32"), preparation.batch, "random", best_device())


def rate(encode: Callable, items: list, repeats: int) -> float:
    """Return items a second: the median over batches."""
    encode(items)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        encode(items)
        seconds.append(time.perf_counter() - start)
    return round(len(items) / float(np.median(seconds)), 1)


if __name__ == "__main__":
    typer.run(main)
