"""params.yaml: what is wrong stops before any work, in one line that says where and what to write instead."""

import copy
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from stages.common.errors import UserError
NETWORK = {"kind": "timm", "name": "vit_small_patch16_224", "checkpoint": "dino.pth"}


@pytest.mark.parametrize(
    "spec",
    [
        {"layer": "blocks.11", "pooling": "cls", "size": 448, "mean": [0.5, 0.5, 0.5], "std": [1, 1, 1], "crop": 1},
        {"weights": "pretrained", "classes": "imagenet"},
        {"kind": "torchvision", "name": "resnet50", "weights": "IMAGENET1K_V2", "classes": ["cat", "dog"]},
        {"kind": "open_clip", "name": "ViT-B-32", "pretrained": "laion2b_s34b_b79k", "squash": True},
    ],
)
def test_networks_by_name_load_and_survive_a_copy(spec, tmp_path):
    params = load_params(changed(tmp_path / "params.yaml", "encoders.mine", NETWORK | spec))
    assert validated(params.model_dump(mode="python")).encoders["mine"] == params.encoders["mine"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"pooling": "median"}, "encoders.mine.pooling: should be 'mean', 'max' or 'cls', got 'median'"),
        ({"layers": "norm"}, "encoders.mine.layers: unknown key"),
        ({"crop": 1.5}, "encoders.mine.crop: should be less than or equal to 1, got 1.5"),
        ({"mean": [0.5]}, "encoders.mine.mean.1: missing"),
        ({"size": 224.0}, "encoders.mine.size: should be a valid integer"),
        ({"weights": "IMAGENET1K_V1"}, "encoders.mine.weights: should be 'checkpoint', 'random' or 'pretrained'"),
        ({"kind": "tim"}, "encoders.mine: "),
        ({"kind": "python"}, "encoders.mine."),
        ({"checkpoint": 3}, "encoders.mine.checkpoint: should be a valid string, got 3"),
    ],
)
def test_what_is_wrong_with_a_network_is_said_in_one_line(spec, words, tmp_path):
    assert problem(changed(tmp_path / "params.yaml", "encoders.mine", NETWORK | spec)).startswith(words)
