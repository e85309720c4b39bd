"""The arguments of `falcon init`: the entries that they give, and one line for what is malformed."""

from dataclasses import replace
from pathlib import Path

import pytest

from falcon_dvc.cli.recipe.request import (
    DEFAULT_IMAGE_TEXT,
    Request,
    class_names,
    control_entry,
    encoder_entry,
    image_text_entry,
    joined,
    with_paths,
)
from falcon_dvc.errors import UserError

BARE = Request("mine", Path("pictures"), Path("captions.txt"), "torchvision:resnet18")
FILE = Path("x.pth")


@pytest.mark.parametrize(
    ("options", "entry"),
    [
        ({"checkpoint": FILE}, {"kind": "torchvision", "name": "resnet18", "checkpoint": FILE}),
        ({"weights": "random"}, {"kind": "torchvision", "name": "resnet18", "weights": "random"}),
        (
            {"encoder": "timm:vit_base_patch16_224", "weights": "augreg_in21k", "layer": "blocks.10", "pooling": "cls"},
            {
                "kind": "timm",
                "name": "vit_base_patch16_224.augreg_in21k",
                "weights": "pretrained",
                "layer": "blocks.10",
                "pooling": "cls",
            },
        ),
        (
            {"encoder": "timm:resnet50", "weights": "pretrained", "layer": "layer3, layer4"},
            {"kind": "timm", "name": "resnet50", "weights": "pretrained", "layer": ["layer3", "layer4"]},
        ),
        ({"encoder": "open_clip:RN50/yfcc15m"}, {"kind": "open_clip", "name": "RN50", "pretrained": "yfcc15m"}),
        ({"encoder": "open_clip:hf-hub:org/x"}, {"kind": "open_clip", "name": "hf-hub:org/x", "pretrained": "name"}),
        (
            {"encoder": "open_clip:RN50", "checkpoint": FILE},
            {"kind": "open_clip", "name": "RN50", "checkpoint": FILE},
        ),
        ({"encoder": "efficientnet_lite:1"}, {"kind": "efficientnet_lite", "variant": 1}),
        (
            {"weights": "random", "classes": "cat, hot dog", "features": "3,17,200"},
            {
                "kind": "torchvision",
                "name": "resnet18",
                "weights": "random",
                "classes": ["cat", "hot dog"],
                "features": [3, 17, 200],
            },
        ),
        (
            {"weights": "random", "head": Path("h.npz"), "features": "random:30", "classes": "imagenet"},
            {
                "kind": "torchvision",
                "name": "resnet18",
                "weights": "random",
                "classes": "imagenet",
                "head": Path("h.npz"),
                "features": {"random": 30},
            },
        ),
    ],
)
def test_entries_of_encoders(options, entry):
    assert encoder_entry(replace(BARE, **options)) == entry


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["--encoder torchvision:resnet18", "--checkpoint FILE", "--weights random"]),
        ({"weights": "random", "checkpoint": FILE}, ["only one of them"]),
        ({"encoder": "resnet18"}, ["--encoder resnet18", "torchvision:NAME"]),
        ({"encoder": "keras:resnet18"}, ["--encoder keras:resnet18", "timm:NAME"]),
        ({"encoder": "efficientnet_lite:5"}, ["efficientnet_lite:0"]),
        ({"encoder": "efficientnet_lite:0", "checkpoint": FILE}, ["--checkpoint", "leave"]),
        ({"weights": "random", "classes": "cat"}, ["--classes cat", "no such file"]),
        ({"weights": "random", "classes": "cat,,dog"}, ["--classes", "empty name"]),
        ({"weights": "random", "head": FILE}, ["--head x.pth", "--classes cat,dog"]),
        ({"weights": "random", "features": "random:0"}, ["--features random:0", "random:30"]),
        ({"weights": "random", "features": "3,x"}, ["--features 3,x", "no such file"]),
    ],
)
def test_malformed_options_of_the_encoder(options, words):
    with pytest.raises(UserError) as error:
        encoder_entry(replace(BARE, **options))
    assert all(word in str(error.value) for word in words), error.value


def test_a_control_keeps_the_architecture_and_drops_the_trained_weights():
    entry = {
        "kind": "timm",
        "name": "x",
        "checkpoint": FILE,
        "layer": "norm",
        "pooling": "cls",
        "classes": ["a", "b"],
        "head": FILE,
    }
    assert control_entry("mine", entry, 384) == {
        "kind": "timm",
        "name": "x",
        "layer": "norm",
        "pooling": "cls",
        "weights": "random",
        "seed": 1,
        "control_of": ["mine"],
        "features": {"random": 128},
    }
    tag = {"kind": "open_clip", "name": "RN50", "pretrained": "openai", "features": [3, 17]}
    found = control_entry("mine", tag, 40)
    assert (found["pretrained"], found["features"]) == ("random", {"random": 40}) and "weights" not in found


def test_names_and_numbers_of_files(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("cat\n hot dog \n", encoding="utf-8")
    assert class_names(str(names)) == ["cat", "hot dog"]
    numbers = tmp_path / "numbers.txt"
    numbers.write_text("3\n17\n", encoding="utf-8")
    assert encoder_entry(replace(BARE, weights="random", features=str(numbers)))["features"] == numbers


@pytest.mark.parametrize(
    ("options", "entry"),
    [
        ({}, {"kind": "open_clip", "name": "ViT-B-32", "pretrained": "laion2b_s34b_b79k"}),
        ({"image_text": "conse"}, {"kind": "conse"}),
        ({"pairs": FILE}, {"kind": "aligned", "checkpoint": f"data/alignments/{BARE.name}.safetensors"}),
        ({"image_text": "open_clip:RN50/openai"}, {"kind": "open_clip", "name": "RN50", "pretrained": "openai"}),
        (
            {"image_text": "open_clip:hf-hub:org/x"},
            {"kind": "open_clip", "name": "hf-hub:org/x", "pretrained": "name"},
        ),
        (
            {"image_text": "open_clip:local-dir:a/b", "image_text_checkpoint": FILE},
            {"kind": "open_clip", "name": "local-dir:a/b", "pretrained": "checkpoint", "checkpoint": FILE},
        ),
        (
            {"image_text": "open_clip:RN50", "image_text_checkpoint": FILE},
            {"kind": "open_clip", "name": "RN50", "pretrained": "checkpoint", "checkpoint": FILE},
        ),
    ],
)
def test_entries_of_image_text_encoders(options, entry):
    assert image_text_entry(replace(BARE, **options)) == entry


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image_text": "clip"}, ["--image-text clip", "conse"]),
        ({"image_text": "open_clip:RN50"}, ["open_clip:RN50/TAG", "--image-text-checkpoint FILE"]),
        ({"image_text": "open_clip:RN50/openai", "image_text_checkpoint": FILE}, ["either a tag"]),
        ({"image_text": "conse", "image_text_checkpoint": FILE}, ["--image-text conse"]),
        ({"image_text_checkpoint": FILE}, ["(not given)", "--image-text-checkpoint FILE"]),
        ({"pairs": FILE, "image_text": "conse"}, ["--pairs", "leave --image-text out"]),
    ],
)
def test_malformed_options_of_the_image_text_encoder(options, words):
    with pytest.raises(UserError) as error:
        image_text_entry(replace(BARE, **options))
    assert all(word in str(error.value) for word in words), error.value


def test_paths_inside_of_an_entry_are_written_too():
    entry = with_paths({"basis": {"sae": Path("sae"), "k": 3}, "checkpoint": FILE}, lambda path: f"../../{path}")
    assert entry == {"basis": {"sae": "../../sae", "k": 3}, "checkpoint": "../../x.pth"}


def test_a_folder_that_a_name_holds_is_written_as_a_path():
    entry = {"kind": "open_clip", "name": "local-dir:a/b", "pretrained": "name", "head": FILE}
    written = with_paths(entry, lambda path: f"../../{path}")
    assert written == {**entry, "name": "local-dir:../../a/b", "head": f"../../{FILE}"}


def test_the_default_image_text_encoder_exists():
    open_clip = pytest.importorskip("open_clip")
    kind, _, model = DEFAULT_IMAGE_TEXT.partition(":")
    name, _, tag = model.partition("/")
    assert kind == "open_clip" and tag in open_clip.list_pretrained_tags_by_model(name)


def test_long_lists_are_cut():
    assert joined(list("abc")) == "a, b, c"
    assert joined(list("abcdef")) == "a, b, c, d, e, ... (6 in all)"
