"""The chain on what a user brings: each kind of encoder, layer, image source and caption source, from the first image to concepts."""

import copy
import csv
import importlib
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML

from falcon_dvc.artifacts.formats import read_json
from falcon_dvc.cli.runs import prepare
from falcon_dvc.models.image_text.load import load_image_text
from falcon_dvc.models.scenes import small_clip
from falcon_dvc.models.scenes.checkpoints import save_clip
from falcon_dvc.params.load import load_params, merge, read_yaml, validated
from tests.support.caption_files import write_coco, write_shard
from tests.support.image_sources import as_folder, as_list, as_shards, as_structs, mnist
from tests.support.paths import ROOT
from tests.support.tiny_models import TINY_CLIP, known

COLOURS = {"red": (200, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 200), "yellow": (220, 210, 40)}
GROUNDS = {"snow": 235, "asphalt": 90, "night": 20}
CAPTIONS = [f"a {colour} square on {ground}" for colour in COLOURS for ground in GROUNDS] + ["a photo of nothing"]
CLIP = {"image_size": 32, "embedding": 32, "width": 12, "layers": [1, 1, 1]}
TEXT = {"text_width": 32, "text_layers": 1, "context": 12}
FACTORY = '''
"""A network of a user."""
from torch import nn


def build():
    network = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    network.size, network.mean, network.std = 32, (0.5, 0.5, 0.5), (0.3, 0.3, 0.3)
    return network
'''
SMALL = {
    "worlds": [],
    "train": {"supervised": None, "simclr": None},
    "transfers": {"supervised_to_simclr": None, "simclr_to_supervised": None},
    "failures": {"encoders": []},
    "ablate_features": {"encoders": []},
    "find_groups": {"rule": "top_k", "top_k": 6, "min_images": 4, "max_images": 6, "random_images": 6, "low_images": 4},
}
TINY_RESNET = TINY_CLIP | {"vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}}
STAGES = (
    *("extract_activations", "find_groups", "embed_images", "mine_crops", "build_caption_index", "parse_captions"),
    *("caption_images", "score_concepts"),
)
OF_AN_ENCODER = {"extract_activations", "find_groups", "mine_crops", "score_concepts"}


def pictures():
    """Squares of a colour, at a place, on a ground, as files."""
    rng, found = np.random.default_rng(0), {}
    for number in range(40):
        colour, ground = list(COLOURS)[number % 4], list(GROUNDS)[number % 3]
        image = np.full((48, 48, 3), GROUNDS[ground], dtype=np.uint8)
        top, left = rng.integers(0, 24, 2)
        image[top : top + 20, left : left + 20] = COLOURS[colour]
        file = io.BytesIO()
        Image.fromarray(image).save(file, "png")
        found[f"{number:02}"] = file.getvalue()
    return found


def of_mnist(here):
    mnist(here / "mnist", 40)
    return {"source": "torchvision", "images": "mnist", "dataset": "MNIST", "dataset_split": "test"}


IMAGES = {
    "folder": lambda here: as_folder(here / "images", pictures()).model_dump(),
    "list": lambda here: as_list(here / "images", pictures()).model_dump(),
    "parquet": lambda here: as_structs(here / "images.parquet", pictures()).model_dump(),
    "tar shards": lambda here: as_shards(here / "images", pictures()).model_dump(),
    "torchvision": of_mnist,
}


def of_text(here):
    (here / "captions.txt").write_text("\n".join(CAPTIONS))
    return "captions.txt"


def of_json_lines(here):
    (here / "captions.jsonl").write_text("".join(json.dumps({"caption": text}) + "\n" for text in CAPTIONS))
    return "captions.jsonl"


def of_coco(here):
    write_coco(here / "captions.json", CAPTIONS)
    return "captions.json"


def of_parquet(here):
    pq.write_table(pa.table({"caption": CAPTIONS}), here / "captions.parquet")
    return "captions.parquet"


def of_csv(here):
    with (here / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["caption"], *([text] for text in CAPTIONS)])
    return "captions.csv"


def of_templates(here):
    (here / "captions.yaml").write_text(
        'templates: ["a {}", "{} on snow"]\nwords: [red square, blue square, green night]'
    )
    return "captions.yaml"


def of_laion(here):
    encoder = load_image_text(validated(read_yaml(here / "params.yaml")).image_text)
    for number, part in enumerate((CAPTIONS[:7], CAPTIONS[7:])):
        write_shard(here / "laion", number, part, (2 * encoder.embed_texts(part)).astype(np.float16))
    return "laion"


CAPTION_SOURCES = {
    "text": of_text, "json lines": of_json_lines, "coco": of_coco, "parquet": of_parquet, "csv": of_csv,
    "templates": of_templates, "laion": of_laion,
}  # fmt: skip
VIT = {"kind": "timm", "name": "test_vit", "weights": "random", "size": 48}
# Encoder and layer, image source, caption source, index.
RUNS = {
    "a ResNet of torchvision, two layers": (
        {"kind": "torchvision", "name": "resnet18", "weights": "random", "size": 32, "layer": ["layer2", "layer3"]},
        "list", "json lines", {},
    ),
    "class token of a ViT of timm": ({**VIT, "pooling": "cls"}, "parquet", "coco", {}),
    "patch tokens of a block of a ViT": ({**VIT, "layer": "blocks.3", "pooling": "max"}, "tar shards", "laion", {}),
    "an own network": (
        {"kind": "python", "factory": "network_of_a_user:build"}, "folder", "templates",
        {"index": "sq", "nlist": 2, "nprobe": 2, "train": 2, "least_recall": 0.1},
    ),
    "image tower of open_clip": (
        {"kind": "open_clip", "name": "tiny-clip-resnet", "pretrained": "random", "layer": "layer1"}, "torchvision", "csv", {},
    ),
    "what its average pool leaves": (
        {"kind": "python", "factory": "network_of_a_user:build", "layer": "4"}, "folder", "text", {},
    ),
    "maps of a ResNet by timm": (
        {"kind": "timm", "name": "test_resnet", "weights": "random", "size": 64}, "folder", "parquet",
        {"index": "ivf", "nlist": 2, "nprobe": 2, "train": 2, "least_recall": 0.1},
    ),
}  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder with an image-text encoder."""
    torch.manual_seed(0)
    ids = torch.unique(small_clip.build_tokenizer(TEXT["context"])(CAPTIONS)).tolist()
    (tmp_path / "models").mkdir()
    config = {**CLIP, **TEXT}
    save_clip(
        tmp_path / "models/clip.safetensors",
        small_clip.build_clip(**config, vocabulary=len(ids)),
        {**config, "token_ids": ids},
    )
    (tmp_path / "network_of_a_user.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def written(here, content):
    (here / "params.yaml").write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML


@pytest.mark.parametrize("name", RUNS)
def test_the_chain_runs_by_params_alone(name, here):
    encoder, images, captions, index = RUNS[name]
    known(here, "tiny-clip-resnet", TINY_RESNET)
    content = read_yaml(ROOT / "params.yaml")
    merge(content, SMALL)
    content["encoders"] = {"mine": encoder}
    merge(content, {"data": {**IMAGES[images](here), "captions": "none", "heldout": 0.0}, "build_caption_index": index})
    written(here, content)
    content["data"]["captions"] = CAPTION_SOURCES[captions](here)
    params = validated(content)
    importlib.import_module("stages.collect_images").run(params)
    for stage in STAGES:
        importlib.import_module(f"stages.{stage}").run(params, *(["mine"] if stage in OF_AN_ENCODER else []))
    concepts = pd.read_parquet(here / "data/concepts/mine/concepts.parquet")
    vocabulary = {word for text in CAPTIONS for word in text.split()}
    words = set(concepts.loc[concepts["kind"] == "word", "concept"])
    assert len(words) > 2 and words <= vocabulary
    assert read_json(here / "reports/metrics/images.json")["images"] == 40


def test_a_profile_of_one_encoder_without_transfers_reaches_its_report(here):
    run = folder_of_one_encoder(here)
    os.chdir(run)
    params, pinned = load_params(), run / "pins/encoders.mine.txt"
    for name, key, inputs in stages_by_dvc(run):
        extracting = name in ("fit_basis", "extract_activations", "extract_references")
        assert (pinned in inputs) == extracting, "an upgrade reruns the extraction"
        assert not [path for path in inputs if not path.exists()], f"inputs of {name}"
        importlib.import_module(f"stages.{name}").run(params, *key)
    page = (run / "reports/index.html").read_text(encoding="utf-8")
    assert "mine" in page and "4 of 24 features were chosen by encoders.mine.features." in page


def folder_of_one_encoder(here):
    """The folder of a run as `make repro PROFILE=mine` prepares it: one encoder of the user, no pair of encoders.

    A file of the user chooses its features.
    """
    for name in ("params.yaml", "dvc.yaml", ".dvcignore"):
        shutil.copyfile(ROOT / name, here / name)
    for name in ("stages", "falcon_dvc"):
        (here / name).symlink_to(ROOT / name)
    own = {"kind": "python", "factory": "network_of_a_user:build"}
    (here / "chosen.txt").write_text("0\n7\n11\n23\n")
    own["features"] = "../../chosen.txt"
    overlay = copy.deepcopy(SMALL) | {
        "encoders": {"supervised": None, "simclr": None, "mine": own},
        "data": {**IMAGES["folder"](here), "heldout": 0.0},
        "image_text": {"checkpoint": "../../models/clip.safetensors", "allow_synthetic": True},
    }
    (here / "profiles").mkdir()
    with (here / "profiles/mine.yaml").open("w") as file:
        YAML().dump(overlay, file)
    return prepare("mine", "images", of_text(here)).resolve()


def stages_by_dvc(run):
    """Each stage as DVC resolves it, in the order in which it would run: its name, its key, and the paths that it reads."""
    import networkx
    from dvc.dependency.param import ParamsDependency
    from dvc.repo import Repo

    with Repo(str(run), config={"core": {"no_scm": True}}) as repo:
        for stage in networkx.dfs_postorder_nodes(repo.index.graph):
            name, *key = stage.cmd.split()[3:]
            yield name, key, [Path(dep.fs_path) for dep in stage.deps if not isinstance(dep, ParamsDependency)]


def test_every_source_takes_part():
    assert {images for _, images, _, _ in RUNS.values()} == set(IMAGES)
    assert {captions for _, _, captions, _ in RUNS.values()} == set(CAPTION_SOURCES)
