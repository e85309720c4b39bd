"""The parts that params can switch off, and a tiny run in which each of them can be switched."""

import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from falcon_dvc.artifacts.formats import read_array, read_table
from falcon_dvc.models.image_text import load
from falcon_dvc.models.scenes.checkpoints import save_clip, save_encoder
from falcon_dvc.models.scenes.small_clip import build_clip, build_tokenizer
from falcon_dvc.models.scenes.small_resnet import SmallResNet
from falcon_dvc.params.load import merge, read_yaml, validated
from tests.support.paths import ROOT

PARTS = (
    "transfers", "failures", "units", "worlds", "groups", "split", "labels", "contrast", "synonyms", "second", "captions", "controls",
)  # fmt: skip
# One run each; a 1 switches the part at this place of PARTS on. With any two parts, every combination that can occur does.
RUNS = (
    "111111111111", "000010011010", "000000001101", "000101100000", "110000000110", "101011000100", "011000110001",
)  # fmt: skip
# Synthetic images have both splits and labels, and a transfer needs two encoders.
IMPOSSIBLE = {
    (("worlds", True), ("split", False)),
    (("worlds", True), ("labels", False)),
    (("transfers", True), ("second", False)),
}
OFF: dict[str, dict] = {
    "transfers": {"transfers": {"supervised_to_simclr": None}},
    "failures": {"failures": {"encoders": []}, "ablate_features": {"encoders": []}},
    "units": {"evaluate_units": {"encoders": []}},
    "worlds": {
        "worlds": [],
        "train": {"supervised": None, "simclr": None},
        "data": {"source": "list", "images": "pictures", "list": "labelled.csv"},
        "image_text": {"allow_synthetic": True},
    },
    "groups": {"find_groups": {"max_groups": 0}},
    "split": {"data": {"heldout": 0.0}},
    "labels": {"data": {"list": "unlabelled.csv"}},
    "contrast": {"concepts": {"contrast": False}},
    "synonyms": {"parse_captions": {"synonym_similarity": 1.1}},
    "second": {"encoders": {"simclr": None, "untrained_1": {"control_of": ["supervised"]}}, "train": {"simclr": None}},
    "captions": {"generate_captions": {"encoders": []}},
    "controls": {"encoders": {"untrained_1": None}},
}
OTHER_WAY = {"groups": {"find_groups": {"max_size": 1}}}  # to switch a part off
TINY = {
    "data": {"captions": "captions.txt", "heldout": 0.3},
    "encoders": {"untrained_1": {"features": [0, 1, 2]}, "untrained_2": None},
    "transfers": {"simclr_to_supervised": None},
    "render_scenes": {
        "clip_train": 2, "encoder_train": 2, "probe": 40, "test": 20, "captions": 40, "size": 32, "diameters": [10, 16],
    },
    "find_groups": {
        "quantile": 0.8, "min_images": 4, "max_images": 4, "max_groups": 2, "random_images": 4, "low_images": 2, "fdr": 0.9,
        "max_jaccard": 0.9,
    },
    "generate_captions": {"encoders": ["supervised"], "checkpoint": "pins/generate_captions.txt"},
    "parse_captions": {"synonym_similarity": 0.7, "synonym_mentions": 2},
    "concepts": {"relative_cut": 1.05, "top": 2},
    "analyse_groups": {"bootstrap": 10},
    "measure_explainability": {"null_sets": 10, "bootstrap": 10},
    "caption_images": {"least_mentions": 1},
    "measure_faithfulness": {"reference_encoders": 1, "bootstrap": 10},
    "measure_quantiles": {"bootstrap": 10},
    "evaluate_concepts": {"bootstrap": 10, "clear": 0.1},
    "evaluate_units": {"encoders": ["supervised"], "bootstrap": 10, "thresholds": [0.6]},
    "failures": {"bootstrap": 10, "permutations": 1, "controls": 1, "pairs": 1},
    "ablate_features": {"bootstrap": 10, "directions": 2, "images": 5},
    "transfer": {"top_images": 3, "permutations": 1, "bootstrap": 10, "curve": {"images": [10, 20], "draws": 1}},
    "report": {"high": 2, "low": 1, "thumbnail": 16},
}  # fmt: skip
CLIP = {"image_size": 32, "embedding": 32, "width": 12, "layers": [1, 1, 1], "text_width": 32, "text_layers": 1, "context": 12}  # fmt: skip
WIDTHS = [8, 5]
MADE = {"render_scenes", "train_clip", "train_encoder"}  # stages whose results `make_inputs` makes


@cache
def _shipped() -> dict[str, Any]:
    return read_yaml(ROOT / "params.yaml")


def switched(run: str) -> dict[str, bool]:
    """Return which parts a run of `RUNS` has."""
    return {part: digit == "1" for part, digit in zip(PARTS, run, strict=True)}


def switched_params(run: str) -> dict[str, Any]:
    """Return the params of a run of `RUNS`; every other run without groups switches them off in another way."""
    content = copy.deepcopy(_shipped())
    merge(content, TINY)
    for part, on in switched(run).items():
        if not on:
            merge(content, OTHER_WAY.get(part, OFF[part]) if RUNS.index(run) % 2 else OFF[part])
    return content


def make_inputs(patch: pytest.MonkeyPatch) -> None:
    """Make images, captions and untrained networks in the working folder, and a captioner that says the same of each crop."""
    from concurrent.futures import ThreadPoolExecutor

    from stages import render_scenes

    patch.setattr(render_scenes, "ProcessPoolExecutor", ThreadPoolExecutor)
    render_scenes.run(validated(switched_params(RUNS[0])))
    captions = Path("data/scenes/captions.txt").rename("captions.txt").read_text(encoding="utf-8").splitlines()
    table = read_table("data/scenes/attributes.parquet")
    _make_pictures(table["object"])
    _make_networks(captions, sorted(table["object"].unique()))
    for folder in ("data/transfers", "data/probes"):  # as in a clone
        Path(folder).mkdir()
    Path("pins").mkdir()
    Path("pins/generate_captions.txt").touch()
    Path("reports/metrics").mkdir(parents=True, exist_ok=True)
    for folder in ("studies/metrics", "reports/photos/metrics"):
        Path(folder).mkdir(parents=True)
    Path("studies/metrics/reported.json").write_text("{}", encoding="utf-8")
    patch.setattr("falcon_dvc.captioner.load_captioner", lambda *_: _Captioner())
    patch.setattr(load, "load_image_text", cache(load.load_image_text))


class _Captioner:
    def captions(self, batch: list) -> list[str]:
        return ["a red boat"] * len(batch)


def _make_pictures(labels: pd.Series) -> None:
    """Write the synthetic images as files of a user, with and without labels."""
    Path("pictures").mkdir()
    names = [f"{number:03}.png" for number in range(len(labels))]
    for name, pixels in zip(names, read_array("data/scenes/images.npy"), strict=True):
        Image.fromarray(np.asarray(pixels)).save(f"pictures/{name}")
    table = pd.DataFrame({"image": names, "label": labels})
    table.to_csv("pictures/labelled.csv", index=False)
    table[["image"]].to_csv("pictures/unlabelled.csv", index=False)


def _make_networks(captions: list[str], classes: list[str]) -> None:
    """Write an image-text encoder, and two encoders of which one has a classifier."""
    Path("models").mkdir()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ids = torch.unique(build_tokenizer(CLIP["context"])(captions)).tolist()
        clip = build_clip(**CLIP, vocabulary=len(ids))
        save_clip("models/clip.safetensors", clip, {**CLIP, "token_ids": ids})
        for name, heads in (("supervised", {"object": classes}), ("simclr", {})):
            save_encoder(f"models/{name}.safetensors", SmallResNet(8, WIDTHS, heads), {"objective": name})
