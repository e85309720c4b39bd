"""Compare the whole run on photographs with the released flow, with the same models, images, captions and groups.

First ``make repro PROFILE=photos IMAGES=FOLDER CAPTIONS=FILE``; then, in ``runs/photos``,
``python -m falcon_dvc.warm python ../../benchmarks/photos.py run``. With ``half`` in place of ``run`` it compares ours in single precision
with ours in half precision.
Both sides take turns. Ours runs the stages that lead to the words of all groups beside a warm process, as `make repro` does; they write
what was there before. The released flow (benchmarks/released.py), in one process, loads its models before the clock starts and runs the
networks as their packages build them; it embeds a share of the captions, and its time is divided by that share. Ours captions whole
images besides, as correlation ranks the words, and embeds random crops, the null control.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import typer
from ruamel.yaml import YAML

from benchmarks import released
from benchmarks.speed import spread
from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_json, read_table, write_json
from falcon_dvc.concepts.retrieval.index import read_captions
from falcon_dvc.groups.activations import row_normalised
from falcon_dvc.images.decode import cut
from falcon_dvc.images.open import open_images
from falcon_dvc.images.source import ImageSource
from falcon_dvc.models.encoders import efficientnet_lite
from falcon_dvc.models.image_text import conse
from falcon_dvc.params.load import load_params, merge, read_yaml
from falcon_dvc.params.schema import Params
from trials.tiny import Stage, environment, outputs, remove

ROOT = Path(__file__).resolve().parents[1]

OUT = ROOT / "reports" / "benchmarks" / "photos.json"
HALF = OUT.with_name("half.json")
PRECISION = "bfloat16"
SIZE = 224  # of the heatmap that the released flow searches for boxes
CUT = 0.6  # of a heatmap's maximum
FIRST = 5  # captions of an image that are parsed
BATCH = 32  # of the released flow's passes
EMBEDDING = "build_caption_index"
CAPTIONS = "embedding captions"  # the same step of the released flow
CAPTIONS_SHARE = 1 / 8  # of the captions that the released flow embeds

Steps = dict[str, float]  # seconds of each

app = typer.Typer(add_completion=False)


@app.command()
def run(
    encoder: Annotated[
        str, typer.Option(help="The encoder explained: a key of encoders, an EfficientNet-Lite.")
    ] = "lite0",
    groups: Annotated[int, typer.Option(min=1, help="That the released flow explains; its time is extrapolated.")] = 8,
    repeats: Annotated[int, typer.Option(min=1, help="Of each side.")] = 5,
    out: Annotated[Path, typer.Option(help="JSON file of the results.")] = OUT,
) -> None:
    """Time both sides in the project that is the working folder."""
    _check(load_params(), encoder)
    _in_turn(("ours", "reference"), compared, encoder, groups, repeats, out)


@app.command()
def half(
    encoder: Annotated[str, typer.Option(help="The encoder explained: a key of encoders.")] = "lite0",
    repeats: Annotated[int, typer.Option(min=1, help="Of each side.")] = 5,
    out: Annotated[Path, typer.Option(help="JSON file of the results.")] = HALF,
) -> None:
    """Time our stages in single and in half precision in the project that is the working folder, and compare what they find."""
    _in_turn(("ours", "half"), compared_precisions, encoder, 0, repeats, out)


def _in_turn(sides: Sequence[str], compare: Any, encoder: str, groups: int, repeats: int, out: Path) -> None:
    """Run both sides alternately, and write their times and results."""
    repeated: dict[str, list[Steps]] = {side: [] for side in sides}
    found: dict[str, Any] = {}
    for _ in range(repeats):
        for side in sides:
            one = _elsewhere(side, encoder, groups)
            repeated[side].append(one.pop("seconds"))
            found |= one
        write_json(out, found | compare(**repeated))
    typer.echo(out.read_text())


def _check(params: Params, encoder: str) -> None:
    """Raise unless the params name models that the released flow supports."""
    place, joint = Path.cwd() / "params.yaml", params.image_text
    if getattr(params.encoders.get(encoder), "kind", None) != "efficientnet_lite":
        wrong = f"--encoder {encoder}: no efficientnet_lite of encoders in {place}"
    elif getattr(joint, "kind", None) != "conse" or joint.classifier is not None:
        wrong = f"image_text: not conse with its own classifier in {place}; set image_text: {{kind: conse, ...}}"
    else:
        return
    typer.echo(wrong, err=True)
    raise typer.Exit(1)


def compared(ours: list[Steps], reference: list[Steps]) -> dict[str, Any]:
    """Return the medians of the steps, and of the totals with their spread.

    Parameters
    ----------
    ours, reference
        Seconds of each step, for each repetition.
    """
    totals = {
        f"{side}_seconds": spread([sum(steps.values()) for steps in repeated])
        for side, repeated in (("ours", ours), ("reference", reference))
    }
    our, their = (totals[f"{side}_seconds"]["seconds"] for side in ("ours", "reference"))
    ours_of, theirs_of = _medians(ours), _medians(reference)
    return {
        **totals,
        "repeats": len(ours),
        "ours": ours_of,
        "reference": theirs_of,
        "times_faster": their / our,
        "times_faster_without_embedding_captions": (their - theirs_of[CAPTIONS]) / (our - ours_of[EMBEDDING]),
    }


def compared_precisions(ours: list[Steps], half: list[Steps]) -> dict[str, Any]:
    """Return the medians of the steps in both precisions, and of the totals with their spread."""
    single, other = (spread([sum(steps.values()) for steps in repeated]) for repeated in (ours, half))
    return {
        "precision": PRECISION,
        "repeats": len(ours),
        "ours": _medians(ours),
        "half": _medians(half),
        "ours_seconds": single,
        "half_seconds": other,
        "times_faster": single["seconds"] / other["seconds"],
    }


def _medians(repeated: list[Steps]) -> Steps:
    return {step: float(np.median([steps[step] for steps in repeated])) for step in repeated[0]}


def _elsewhere(side: str, encoder: str, groups: int) -> dict[str, Any]:
    """Return what `once` measures, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.photos", "once", side, encoder, str(groups)]
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=surroundings)
    return json.loads(done.stdout.splitlines()[-1])


@app.command(hidden=True)
def once(side: str, encoder: str, groups: int) -> None:
    """Measure one side."""
    typer.echo(json.dumps(SIDES[side](encoder, groups)))


def our_stages(encoder: str, groups: int) -> dict[str, Any]:
    """Return the seconds of each stage of ours, for all groups."""
    seconds, peak = _chain(encoder, Path())
    return {"seconds": seconds, "ours_peak_mb": peak}


def our_stages_in_half(encoder: str, groups: int) -> dict[str, Any]:
    """Return the seconds of each stage of ours in half precision, in a folder beside this one, and how far the results agree."""
    with TemporaryDirectory(dir=Path.cwd().parent) as place:
        folder, content = Path(place), read_yaml(Path("params.yaml"))
        merge(content, {name: {"precision": PRECISION} for name in ("image_text", "extract_activations")})
        with (folder / "params.yaml").open("w") as file:
            YAML().dump(content, file)
        seconds, peak = _chain(encoder, folder)
        return {"seconds": seconds, "half_peak_mb": peak, **agreement(encoder, folder)}


def agreement(encoder: str, folder: Path) -> dict[str, Any]:
    """Return how far the groups and words in a folder are those of the working folder.

    Returns
    -------
    dict
        Groups here and there; the share of all that are in both; of these, the share with the same first word, or with none in both.
    """
    here, there = first_words(encoder, Path()), first_words(encoder, folder)
    both = sorted(here.keys() & there.keys())
    return {
        "groups": len(here),
        "groups_in_half": len(there),
        "same_groups": len(both) / len(here.keys() | there.keys()),
        "same_first_word": sum(here[members] == there[members] for members in both) / max(len(both), 1),
    }


def first_words(encoder: str, folder: Path) -> dict[str, str | None]:
    """Return the best word of each group, by the group's members; None where none is kept."""
    groups = read_table(folder / paths.groups(encoder) / "groups.parquet").set_index("group")["members"]
    ranked = read_table(folder / paths.concepts(encoder) / "concepts.parquet")
    best = ranked[ranked["kept"] & (ranked["kind"] == "word") & (ranked["rank"] == 1)].set_index("group")["concept"]
    return {members: best.get(group) for group, members in groups.items()}


def _chain(encoder: str, folder: Path) -> tuple[Steps, float]:
    """Return the seconds of the stages that lead to words, and the most memory of one, in MB."""
    alone = ("collect_images", "divide_encoders", EMBEDDING, "parse_captions", "embed_images", "caption_images")
    of_encoder = ("fit_basis", "extract_activations", "find_groups", "mine_crops", "score_concepts")
    stages: list[Stage] = [*((name, ()) for name in alone), *((name, (encoder,)) for name in of_encoder)]
    found = {stage[0]: _run(stage, folder) for stage in stages}
    return {name: taken for name, (taken, _) in found.items()}, max(peak for _, peak in found.values())


def released_flow(encoder: str, groups: int) -> dict[str, Any]:
    """Return the seconds of each step of the released flow, from those of some groups."""
    flow = ReleasedFlow(load_params(), encoder)
    chosen = flow.evenly(groups)
    flow.warm_up(chosen[0])
    return {
        "seconds": flow.seconds(chosen),
        "images": len(read_table(paths.IMAGES)),
        "groups": len(read_table(paths.groups(encoder) / "groups.parquet")),
        "groups_measured": len(chosen),
        "same_features": flow.same_features(),
        "reference_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def _run(stage: Stage, folder: Path) -> tuple[float, float]:
    """Return the seconds of a stage, and its most memory in MB."""
    name, key = stage
    typer.echo(f"{name} ...", err=True)
    remove([folder / path for path in outputs(stage)])
    with TemporaryDirectory() as scratch:
        out = Path(scratch) / "sampled.json"
        # The project's code is not in the folder, but where this file is.
        command = [sys.executable, str(ROOT / "benchmarks" / "sampled.py"), str(out), name, *key]
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, env=environment() | {"PYTHONPATH": str(ROOT)})
        return time.perf_counter() - start, read_json(out)["peak_mb"]


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
        """Return the last activation maps."""
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
        from falcon_dvc.models.encoders.load import load_encoder
        from falcon_dvc.models.image_text.load import load_image_text

        self._encoder: Any = load_encoder(params.encoders[name])
        self._encoder._network = AsPackaged(params.encoders[name].variant)
        with patch.object(conse, "by_onednn"):  # linear layers as torch computes them
            self._joint: Any = load_image_text(params.image_text)
        self._joint._classifier._network = AsPackaged(conse.DEFAULT_VARIANT)
        table = read_table(paths.IMAGES)
        self._images: ImageSource = open_images(params.data, table)
        self._features = read_array(paths.activations(name) / "features.npy")
        self._normalised = row_normalised(self._features)
        self._groups = read_table(paths.groups(name) / "groups.parquet")
        self._sets = read_table(paths.groups(name) / "sets.parquet")
        self._sets["row"] = pd.Index(table["image"]).get_indexer(self._sets["image"])
        self._embeddings = np.asarray(read_captions()[1][:], dtype=np.float32)
        self._texts = read_table(paths.CAPTIONS / "captions.parquet")["text"].to_numpy()
        self._seconds: Steps = {}

    def evenly(self, groups: int) -> list[int]:
        """Return the places of some groups, evenly chosen."""
        return np.unique(np.linspace(0, len(self._groups) - 1, groups).astype(int)).tolist()

    def same_features(self) -> float:
        """Return the share of the features that are ours, to a thousandth of the largest."""
        tolerance = 1e-3 * np.abs(self._features).max()
        return float((np.abs(self._extract() - self._features) <= tolerance).mean())

    def warm_up(self, place: int) -> None:
        """Explain a group without the clock: what is done once, as the class names' embedding, must not be extrapolated."""
        self._explain(place)

    def seconds(self, chosen: list[int]) -> Steps:
        """Return the seconds of each step of the whole run, from those of some groups."""
        self._seconds = {}
        some = list(self._texts[:: round(1 / CAPTIONS_SHARE)])
        self._timed(CAPTIONS, self._joint.embed_texts, some)
        self._seconds[CAPTIONS] *= len(self._texts) / len(some)
        self._timed("activations", self._extract)
        self._timed("groups", self._group)
        whole = set(self._seconds)
        for place in chosen:
            typer.echo(f"group {self._groups['group'].iloc[place]} ...", err=True)
            self._explain(place)
        factor = len(self._groups) / len(chosen)
        return {name: taken * (1.0 if name in whole else factor) for name, taken in self._seconds.items()}

    def _timed(self, step: str, do: Any, *inputs: Any) -> Any:
        start = time.perf_counter()
        result = do(*inputs)
        self._seconds[step] = self._seconds.get(step, 0.0) + time.perf_counter() - start
        return result

    def _extract(self) -> np.ndarray:
        starts = range(0, len(self._images), BATCH)
        rows = [range(start, min(start + BATCH, len(self._images))) for start in starts]
        return np.concatenate([self._encoder.activations([self._images.load(i) for i in some])[0] for some in rows])

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
        boxes = self._timed("boxes", lambda: [released.box(one, CUT) for one in heatmaps])
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


SIDES = {"ours": our_stages, "half": our_stages_in_half, "reference": released_flow}


if __name__ == "__main__":
    app()
