"""The whole run on photographs against the released flow, with the same models, images, captions and groups.

First ``make repro PROFILE=photos IMAGES=FOLDER CAPTIONS=FILE``; then, in ``runs/photos``, ``python ../../benchmarks/photos.py``. Our side
runs the stages that do what the released scripts do, each in a process of its own, as DVC does; they write what was there before. The
released flow (benchmarks/released.py) loads its models once and runs the networks as their package builds them. Both embed the
captions once, by the same code, so that is timed once. Ours embeds random crops besides, the null control.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import released  # noqa: E402
from benchmarks.tiny import Stage, environment, outputs, remove  # noqa: E402
from stages.common import files  # noqa: E402
from stages.common.artifacts import read_array, read_table, write_json  # noqa: E402
from stages.common.corpus import read_captions  # noqa: E402
from stages.common.params import Params, load_params  # noqa: E402
from stages.method.activations import row_normalised  # noqa: E402
from stages.models import efficientnet_lite  # noqa: E402
from stages.models.conse import DEFAULT_VARIANT  # noqa: E402
from stages.sources.image_sources import open_images  # noqa: E402
from stages.sources.images import ImageSource, cut  # noqa: E402

OUT = ROOT / "reports" / "benchmarks" / "photos.json"
SIZE = 224  # of the heatmap that the released flow searches for boxes
CUT = 0.6  # of a heatmap's maximum
FIRST = 5  # captions of an image that are parsed
BATCH = 32  # of the released flow's passes, and of those that are timed alone
REPEATS = 5
EMBEDDING = "build_caption_index"


app = typer.Typer(add_completion=False)


@app.command()
def main(
    encoder: Annotated[
        str, typer.Option(help="The encoder explained: a key of encoders, an EfficientNet-Lite.")
    ] = "lite0",
    groups: Annotated[int, typer.Option(min=1, help="That the released flow explains; its time is extrapolated.")] = 8,
    out: Annotated[Path, typer.Option(help="JSON file of the results.")] = OUT,
) -> None:
    """Time both sides in the project that is the working folder."""
    params = load_params()
    if getattr(params.encoders.get(encoder), "kind", None) != "efficientnet_lite":
        typer.echo(f"--encoder {encoder}: no efficientnet_lite of encoders in {Path.cwd() / 'params.yaml'}", err=True)
        raise typer.Exit(1)
    ours = dict(ours_by_stage(encoder))
    captions = ours.pop(EMBEDDING)
    flow = ReleasedFlow(params, encoder).seconds(groups)
    networks = network_seconds(params, encoder)
    found = {
        "images": len(read_table(files.IMAGES)),
        "groups": len(read_table(files.groups(encoder) / "groups.parquet")),
        "groups_measured": groups,
        "embedding_captions": captions,
        "ours": ours,
        "reference": flow,
        "our_networks": networks,
        "ours_seconds": sum(ours.values()) + captions,
        "reference_seconds": sum(flow.values()) + captions,
    }
    found["times_faster"] = found["reference_seconds"] / found["ours_seconds"]
    found["times_faster_without_embedding_captions"] = sum(flow.values()) / sum(ours.values())
    found["times_faster_at_most"] = found["reference_seconds"] / (sum(networks.values()) + captions)
    write_json(out, found)
    typer.echo(out.read_text())


def ours_by_stage(encoder: str) -> Iterator[tuple[str, float]]:
    """Seconds of each stage."""
    alone, of_encoder = (
        ("collect_images", EMBEDDING, "parse_captions"),
        ("extract_activations", "find_groups", "mine_crops"),
    )
    for stage in [*((name, ()) for name in alone), *((name, (encoder,)) for name in (*of_encoder, "score_concepts"))]:
        typer.echo(f"{stage[0]} ...", err=True)
        yield stage[0], _run(stage)


def _run(stage: Stage) -> float:
    name, key = stage
    remove([Path(path) for path in outputs(stage)])
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "stages", name, *key], check=True, env=environment(), stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - start


def network_seconds(params: Params, name: str) -> dict[str, float]:
    """Seconds that our networks alone need for all images and all different crops, from what a few batches need."""
    from stages.models.encoders import load_encoder
    from stages.models.image_text import load_image_text

    crops = read_table(files.crops(name) / "crops.parquet")
    different = len(crops.drop_duplicates(["image", "left", "top", "right", "bottom"]))
    explained, joint = load_encoder(params.encoders[name]), load_image_text(params.image_text)
    picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    return {
        "images": len(read_table(files.IMAGES)) * _each(explained.forward, explained.prepare([picture] * BATCH)),
        "crops": different * _each(joint.embed_prepared, joint.prepare([picture] * BATCH)),
    }


def _each(network: Any, batch: Any) -> float:
    """Seconds an image, the median of some batches after one that is not timed."""
    times = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        network(batch)
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:])) / len(batch)


class AsPackaged:
    """The network of an EfficientNet-Lite as its package builds it: nothing folded, memory in PyTorch's default order.

    Parameters
    ----------
    variant : {0, 1, 2}
        The size of the network.
    """

    def __init__(self, variant: int) -> None:
        self._network = efficientnet_lite._network(variant, "encoders")
        self._fc = self._network._fc

    def extract_features(self, batch: Any) -> Any:
        """Give the last activation maps."""
        return self._network.extract_features(batch.contiguous())


class ReleasedFlow:
    """The released scripts, step by step, on the groups that ours explains and their images.

    Parameters
    ----------
    params : Params
        Of the run that is the working folder.
    name : str
        The encoder explained.
    """

    def __init__(self, params: Params, name: str) -> None:
        from stages.models.encoders import load_encoder
        from stages.models.image_text import load_image_text

        self._encoder: Any = load_encoder(params.encoders[name])
        self._encoder._network = AsPackaged(params.encoders[name].variant)
        self._joint: Any = load_image_text(params.image_text)
        self._joint._classifier._network = AsPackaged(DEFAULT_VARIANT)
        table = read_table(files.IMAGES)
        self._images: ImageSource = open_images(params.data, table)
        self._normalised = row_normalised(read_array(files.activations(name) / "features.npy"))
        self._groups = read_table(files.groups(name) / "groups.parquet")
        self._sets = read_table(files.groups(name) / "sets.parquet")
        self._sets["row"] = pd.Index(table["image"]).get_indexer(self._sets["image"])
        self._embeddings = np.asarray(read_captions()[1][:], dtype=np.float32)
        self._texts = read_table(files.CAPTIONS / "captions.parquet")["text"].to_numpy()
        self._seconds: dict[str, float] = {}

    def seconds(self, groups: int) -> dict[str, float]:
        """Seconds of each step of the whole run, from those of some groups, evenly chosen."""
        self._timed("activations", self._extract)
        self._timed("groups", self._group)
        chosen = np.unique(np.linspace(0, len(self._groups) - 1, groups).astype(int))
        before = dict(self._seconds)
        for place in chosen:
            typer.echo(f"group {self._groups['group'].iloc[place]} ...", err=True)
            self._explain(place)
        factor = len(self._groups) / len(chosen)
        return {name: taken * (1.0 if name in before else factor) for name, taken in self._seconds.items()}

    def _timed(self, step: str, do: Any, *inputs: Any) -> Any:
        start = time.perf_counter()
        result = do(*inputs)
        self._seconds[step] = self._seconds.get(step, 0.0) + time.perf_counter() - start
        return result

    def _extract(self) -> None:
        for row in range(0, len(self._images), BATCH):
            rows = range(row, min(row + BATCH, len(self._images)))
            self._encoder.activations([self._images.load(i) for i in rows])

    def _group(self) -> None:
        threshold = self._normalised.mean() + 5 * self._normalised.std()
        released.groups({"normalised": self._normalised, "threshold": threshold, "min_images": 11}, 1.0)

    def _explain(self, place: int) -> None:
        """Steps 4 to 11 of one group."""
        name, members = self._groups["group"].iloc[place], self._groups["members"].iloc[place]
        features = [int(one) for one in members.split()]
        rows = {role: some["row"].to_numpy() for role, some in self._sets[self._sets["group"] == name].groupby("role")}
        pictures = [self._images.load(row) for row in rows["high"]]
        heatmaps = self._timed("heatmaps", self._heatmaps, pictures, features)
        boxes = self._timed("boxes", lambda: [released._box(one, CUT) for one in heatmaps])
        crops = [self._cropped(picture, box) for picture, box in zip(pictures, boxes, strict=True)]
        high = self._timed("embedding", self._joint.embed_images, crops)
        self._timed("lowly", self._low, rows["high"], features)
        lowly = [self._images.load(row) for row in rows.get("low", [])]
        low = self._timed("embedding", self._joint.embed_images, lowly) if lowly else high[:0]
        for embedded in (high, low):
            ids = self._timed("captions", self._captioned, embedded)
            captions = list(self._texts[ids.reshape(-1)])
            self._timed("words", lambda some=captions: released.words({"captions": some}, 1.0))

    def _heatmaps(self, pictures: list, features: list[int]) -> np.ndarray:
        """Grad-CAM of the group: a pass forward and back."""
        import torch

        # The network itself: what an encoder offers gives no gradients.
        maps = self._encoder._network.extract_features(self._encoder.prepare(pictures))
        maps.retain_grad()
        maps.mean(dim=(2, 3))[:, features].sum().backward()
        summed = torch.relu((maps.grad.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1, keepdim=True))
        return torch.nn.functional.interpolate(summed, size=SIZE, mode="bilinear")[:, 0].detach().numpy()

    def _cropped(self, picture: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
        left, top, right, bottom = self._encoder.field(picture.shape[1], picture.shape[0])
        across, down = (right - left) / SIZE, (bottom - top) / SIZE
        x0, y0, x1, y1 = box
        return cut(
            picture, (left + int(x0 * across), top + int(y0 * down), left + int(x1 * across), top + int(y1 * down))
        )

    def _low(self, high: np.ndarray, features: list[int]) -> np.ndarray:
        """Step 7: all images, compared with the group's mean without its features."""
        rest = np.delete(self._normalised, features, axis=1)
        similar = rest @ rest[high].mean(axis=0)
        similar[(self._normalised[:, features] >= self._normalised.mean()).any(axis=1)] = -np.inf
        return np.argsort(-similar, kind="stable")[:10]

    def _captioned(self, embedded: np.ndarray) -> np.ndarray:
        inputs = {"crops": embedded, "texts": self._embeddings, "shard": len(self._embeddings), "k": FIRST}
        return released.captions(inputs, 1.0)


if __name__ == "__main__":
    app()
