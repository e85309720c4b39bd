"""A whole run on images, labels, classes and captions whose names and texts are attacks, from the first image to the last page."""

import csv
import importlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from falcon_dvc.models.scenes.checkpoints import save_clip
from falcon_dvc.models.scenes.small_clip import build_clip, build_tokenizer
from falcon_dvc.params.load import merge, read_yaml, validated
from falcon_dvc.params.schema import Params
from tests.support.attacks import ATTACKS, MARK
from tests.support.paths import ROOT

# One for each attack: the captions behind a concept are shown, and so each of them somewhere.
NOUNS = [
    "boat", "truck", "umbrella", "flower", "water", "grass", "crown", "bottle", "apple", "arrow", "balloon", "basket", "bell", "bicycle",
    "bird", "bridge", "button", "candle", "castle", "cat", "chair", "clock", "cloud", "coat", "cow", "cup", "dog", "door", "drum",
    "engine", "fence", "fish", "flag", "fork", "garden", "glove", "guitar", "hammer", "hat", "horse", "house", "island", "jacket",
    "kettle", "key", "kite", "ladder", "lamp", "leaf", "lion",
]  # fmt: skip
COLOURS = ((200, 30, 30), (30, 160, 60), (40, 60, 200), (220, 210, 40), (120, 20, 130), (20, 150, 150))
# Classes of the classifiers and labels of the images: what a page, a table and a sentence show of them.
CLASSES = tuple(ATTACKS[place] for place in (1, 2, 18, 21, 27, 33))
CAPTIONS = [f"{text} {MARK} on a red {noun}" for noun, text in zip(NOUNS, ATTACKS, strict=False)]
CAPTIONS += ["script constructor prototype", "img onerror alert"]
NETWORK = '''
from torch import nn


def build():
    """A network with a classifier."""
    maps = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 5, 3, 2, 1), nn.ReLU())
    network = nn.Sequential()
    network.add_module("maps", maps)
    network.add_module("pool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flat", nn.Flatten())
    network.add_module("head", nn.Linear(5, CLASSES))
    network.size, network.mean, network.std = 32, (0.5, 0.5, 0.5), (0.3, 0.3, 0.3)
    return network
'''.replace("CLASSES", str(len(CLASSES)))
CLIP = {
    "image_size": 32,
    "embedding": 32,
    "width": 12,
    "layers": [1, 1, 1],
    "text_width": 32,
    "text_layers": 1,
    "context": 24,
}
SMALL = {
    "worlds": [],
    "train": {"supervised": None, "simclr": None},
    "encoders": {"supervised": None, "simclr": None},
    "transfers": {
        "supervised_to_simclr": None, "simclr_to_supervised": None, "one_to_two": {"explained": "one", "unseen": "two"},
    },
    "find_groups": {
        "rule": "top_k", "top_k": 8, "min_images": 4, "max_images": 6, "max_groups": 3, "random_images": 6, "low_images": 4,
    },
    "parse_captions": {"discard": [], "synonym_mentions": 100},
    # An untrained image-text encoder tells crops apart by a hair: this makes something of it, so that words are kept and removed.
    "concepts": {
        "ranking": "score", "contrast": "relative", "temperature": 1000.0, "captions_per_image": len(CAPTIONS), "relative_cut": 1.0,
        "top": 150,
    },
    "analyse_groups": {"bootstrap": 20},
    "measure_explainability": {"null_sets": 10, "bootstrap": 20},
    "find_facets": {"bootstrap": 20},
    "measure_quantiles": {"bootstrap": 20},
    "measure_faithfulness": {"reference_encoders": 1, "bootstrap": 20},
    "evaluate_units": {"encoders": ["one"], "thresholds": [0.5], "bootstrap": 20},
    "failures": {"encoders": ["one"], "bootstrap": 20, "permutations": 2, "controls": 2},
    "ablate_features": {"encoders": ["one"], "bootstrap": 20, "images": 10},
    "transfer": {"top_images": 4, "permutations": 1, "bootstrap": 20, "curve": {"images": [10], "draws": 1}},
    "report": {"high": 4, "low": 2, "thumbnail": 24},
    "study": {"questions": 6, "pictures": 4, "thumbnail": 24, "bootstrap": 20},
}  # fmt: skip
ONCE = (
    ("collect_images", "embed_images"),
    ("build_caption_index", "parse_captions", "caption_images"),
    ("decide_explained",),
)
OF_ENCODERS = (
    ("extract_activations", "find_groups", "mine_crops", "extract_references"),
    (
        "score_concepts",
        "analyse_groups",
        "measure_explainability",
        "measure_faithfulness",
        "find_facets",
        "measure_quantiles",
    ),
    (),
)


def run_all() -> Params:
    """Run every stage in the current folder; the params as they were read."""
    params = prepared()
    for once, of_encoders in zip(ONCE, OF_ENCODERS, strict=True):
        for stage in once:
            run(stage, params)
        for stage in of_encoders:
            for name in params.encoders:
                run(stage, params, name)
    run("evaluate_units", params, "one")
    run("failures", params, "one")
    run("ablate_features", params, "one")
    run("transfer", params, "one_to_two")
    run("claims", params)
    run("report", params)
    importlib.import_module("falcon_dvc.cli.rating").make(params)
    return params


def run(stage: str, params: Params, *key: str) -> None:
    importlib.import_module(f"stages.{stage}").run(params, *key)


def prepared() -> Params:
    """Write images, captions, an image-text encoder, a network and params.yaml into the current folder."""
    _write_images(Path("images"))
    Path("captions.txt").write_text("\n".join(text.replace("\n", " ") for text in CAPTIONS), encoding="utf-8")
    _write_clip()
    Path("network_under_attack.py").write_text(NETWORK, encoding="utf-8")
    content = read_yaml(ROOT / "params.yaml")
    merge(content, SMALL)
    encoder = {"kind": "python", "factory": "network_under_attack:build", "layer": "maps"}
    control = {"weights": "random", "control_of": ["one", "two"]}
    content["encoders"] = {
        "one": {**encoder, "classes": list(CLASSES)}, "two": {**encoder, "seed": 1}, "three": {**encoder, **control},
    }  # fmt: skip
    merge(content, {"data": {"source": "list", "images": "images", "list": "images.csv", "captions": "captions.txt"}})
    return _read_back(content)


def _read_back(content: dict) -> Params:
    from ruamel.yaml import YAML

    with Path("params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(content, file)
    return validated(read_yaml(Path("params.yaml")))


def file_name(number: int) -> str:
    """An attack as the name of a picture, as far as a file system takes it."""
    text = ATTACKS[number % len(ATTACKS)].replace("/", "\u2215").replace("\0", "")
    return f"{text.encode()[:180].decode(errors='ignore')}{number}.png"


def _write_images(folder: Path) -> None:
    folder.mkdir()
    _picture(0).save("secret.png")
    rows = [
        ["image", "label", "split"],
        ["../secret.png", "x", "probe"],
        [str(Path("secret.png").absolute()), "x", "probe"],
    ]
    for number in range(96):
        name = file_name(number)
        _picture(number).save(folder / name, "png")
        rows.append([name, CLASSES[number % len(CLASSES)], "test" if number % 3 == 0 else "probe"])
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def _picture(number: int) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 90, (40, 40, 3), dtype=np.uint8)
    left = 3 * (number % 8)
    pixels[8:24, left : left + 16] = COLOURS[number % len(COLOURS)]
    return Image.fromarray(pixels)


def _write_clip() -> None:
    torch.manual_seed(0)
    ids = torch.unique(build_tokenizer(CLIP["context"])(CAPTIONS)).tolist()
    Path("models").mkdir()
    save_clip(Path("models/clip.safetensors"), build_clip(**CLIP, vocabulary=len(ids)), {**CLIP, "token_ids": ids})
