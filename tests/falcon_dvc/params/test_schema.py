"""Values of params.yaml: what is wrong stops before any work, in one line that says where and what to write instead."""

import re
from typing import get_args

import pytest
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from falcon_dvc.params import yaml_file
from falcon_dvc.params.load import load_params, read_yaml, validated
from falcon_dvc.params.schema import Data, EncoderSpec, GenerateCaptions, ImageTextSpec, RandomFeatures
from tests.support.changed_params import DEFAULTS, SHIPPED, changed, problem


@pytest.fixture(autouse=True)
def parsed_fast(monkeypatch):
    """The parser in C: what `changed` writes means the same to both, and here values matter, not their notation (test_load.py)."""
    monkeypatch.setattr(yaml_file, "_parsed", lambda text, _: YAML(typ="safe").load(text))


@pytest.mark.parametrize("place", ["concepts.top", "find_groups.max_images", "seed", "mine_crops.batch_size"])
@pytest.mark.parametrize("value", ["8", 8.5, True, None, [8], {"a": 8}, "x" * 5000])
def test_a_whole_number_is_nothing_else(place, value, tmp_path):
    assert problem(changed(tmp_path / "params.yaml", place, value)).startswith(f"{place}: should be a valid integer")


@pytest.mark.parametrize(
    "place", ["concepts.temperature", "find_groups.sigma", "transfer.splits.train", "concepts.gamma"]
)
@pytest.mark.parametrize("value", ["0.1", "1e-3", True, None, [], float("inf"), float("nan")])
def test_a_number_is_finite_and_no_text(place, value, tmp_path):
    assert problem(changed(tmp_path / "params.yaml", place, value)).startswith(f"{place}: should be a")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("seed", -1),
        ("data.source", "imagess"),
        ("data.images", ""),
        ("data.heldout", 1.0),
        ("data.caption_format", "csv"),
        ("build_caption_index.index", "hnsw"),
        ("build_caption_index.least_recall", 1.5),
        ("find_groups.rule", "top"),
        ("find_groups.quantile", 1.0),
        ("find_groups.sigma", 0),
        ("find_groups.min_images", 1),
        ("find_groups.low_similarity", 1.5),
        ("mine_crops.threshold", 0),
        ("mine_crops.margin", -0.1),
        ("concepts.captions_per_image", 0),
        ("concepts.temperature", 0),
        ("concepts.normaliser", "none"),
        ("concepts.contrast", True),
        ("concepts.contrast", "yes"),
        ("concepts.low_cut", 1.1),
        ("concepts.confidence", 95),
        ("parse_captions.discard", "photo"),
        ("parse_captions.language", "French"),
        ("parse_captions.language", False),
        ("parse_captions.discard", [1]),
        ("measure_explainability.null_sets", 3),
        ("transfer.ridge", []),
        ("transfer.ridge", [0]),
        ("transfer.ridge", ["1e-3"]),
        ("transfer.splits", {"train": 0.8, "validation": 0.2}),
        ("encoders", {}),
        ("encoders", {"Res Net": {"kind": "scenes", "checkpoint": "x"}}),
        ("encoders.simclr", {"kind": "resnet"}),
        ("encoders.simclr", {"kind": "efficientnet_lite", "variant": 7}),
        ("image_text", {"kind": "open_clip"}),
        ("image_text", {"kind": "open_clip", "checkpoint": "x", "name": "ViT-B-32"}),
        ("train.supervised.epochs", -1),
        ("train_clip.batch", 1),
        ("render_scenes.junk", 2),
        ("report.thumbnail", 4),
        ("caption_images.template", "{} and {}"),
        ("caption_images.template", "a thing"),
        ("evaluate_units.template", "{} and {}"),
        ("caption_images.window", 1.5),
        ("caption_images.window", 0),
        ("caption_images.window", True),
        ("caption_images.window", "none"),
    ],
)
def test_an_impossible_value_is_named(place, value, tmp_path):
    assert problem(changed(tmp_path / "params.yaml", place, value)).startswith(place)


@pytest.mark.parametrize(("name", "value"), [("nprobe", 4096), ("train", 10)])
def test_lists_that_cannot_be_searched_are_named(name, value, tmp_path):
    line = problem(changed(tmp_path / "params.yaml", f"build_caption_index.{name}", value))
    assert line.startswith(f"build_caption_index: {name} ({value}) must be at")


@pytest.mark.parametrize("end", ["explained", "unseen"])
def test_a_transfer_between_unknown_encoders_is_refused(end, tmp_path):
    place = f"transfers.supervised_to_simclr.{end}"
    line = problem(changed(tmp_path / "params.yaml", place, "simlcr"))
    assert "transfers.supervised_to_simclr names the encoder 'simlcr'; known are:" in line


@pytest.mark.parametrize("section", ["evaluate_units", "failures", "generate_captions", "ablate_features"])
def test_a_list_of_encoders_names_encoders(section, tmp_path):
    line = problem(changed(tmp_path / "params.yaml", f"{section}.encoders", ["moco"]))
    assert f"{section}.encoders names the encoder 'moco'; known are: " in line


def test_a_transfer_to_itself_is_refused(tmp_path):
    assert "to itself" in problem(
        changed(tmp_path / "params.yaml", "transfers.supervised_to_simclr.unseen", "supervised")
    )


@pytest.mark.parametrize(("written", "read"), [(False, "off"), ("off", "off"), ("released", "released")])
def test_contrast_false_means_off(written, read, tmp_path):
    assert load_params(changed(tmp_path / "params.yaml", "concepts.contrast", written)).concepts.contrast == read


@pytest.mark.parametrize(("written", "read"), [(False, "off"), ("off", "off"), (1, 1.0), (0.5, 0.5)])
def test_a_window_is_a_share_or_off(written, read, tmp_path):
    assert (
        load_params(changed(tmp_path / "params.yaml", "caption_images.window", written)).caption_images.window == read
    )


def test_what_is_no_window_is_told_in_one_message(tmp_path):
    line = problem(changed(tmp_path / "params.yaml", "caption_images.window", 1.5))
    assert line.startswith("caption_images.window: must be a share above 0 and up to 1, or off")


@pytest.mark.parametrize("weight", ["word_weight", "nearest_weight"])
def test_weights_of_words_need_the_ranking_that_reads_them(weight, tmp_path):
    path = changed(tmp_path / "params.yaml", f"concepts.{weight}", 1.0)
    assert load_params(path)
    assert "need ranking: correlation" in problem(changed(path, "concepts.ranking", "score", source=read_yaml(path)))


def test_a_whole_number_may_stand_for_a_number(tmp_path):
    assert load_params(changed(tmp_path / "params.yaml", "concepts.temperature", 100)).concepts.temperature == 100.0


def test_nothing_can_be_changed_once_read():
    with pytest.raises(ValueError, match="frozen"):
        load_params(SHIPPED).concepts.top = 3


@pytest.mark.parametrize(
    ("data", "missing"),
    [
        ({"source": "list"}, "list"),
        ({"source": "list", "list": ""}, "list"),
        ({"source": "torchvision", "dataset_split": "test"}, "dataset"),
        ({"source": "torchvision", "dataset": "MNIST"}, "dataset_split"),
    ],
)
def test_a_source_says_what_else_it_needs(data, missing, tmp_path):
    content = DEFAULTS["data"] | data
    line = problem(changed(tmp_path / "params.yaml", "data", content))
    assert line == f"data: source {data['source']} needs {missing}; see docs/images.md"


PHOTOGRAPHS = {**DEFAULTS, "image_text": {"kind": "open_clip", "name": "ViT-B-32", "pretrained": "openai"}}


@pytest.mark.parametrize(
    "data",
    [
        {"source": "list", "list": "images.csv"},
        {"source": "parquet"},
        {"source": "webdataset"},
        {"source": "torchvision", "dataset": "MNIST", "dataset_split": "test"},
    ],
)
def test_every_source_is_known(data, tmp_path):
    path = changed(tmp_path / "params.yaml", "data", DEFAULTS["data"] | data, PHOTOGRAPHS)
    assert load_params(path).data.source == data["source"]


def test_params_from_before_these_sources_are_valid(tmp_path):
    old = {key: value for key, value in DEFAULTS["data"].items() if key not in ("list", "dataset", "dataset_split")}
    assert load_params(changed(tmp_path / "params.yaml", "data", old)).data.list is None


def test_the_examples_of_the_page_on_images_are_valid(tmp_path):
    page = (SHIPPED.parent / "docs" / "images.md").read_text(encoding="utf-8")
    blocks = [YAML(typ="safe", pure=True).load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    examples = [block["data"] for block in blocks if "data" in block]
    assert [example["source"] for example in examples] == list(get_args(Data.model_fields["source"].annotation))[1:]
    for example in examples:
        assert load_params(changed(tmp_path / "params.yaml", "data", DEFAULTS["data"] | example, PHOTOGRAPHS))
    (classes,) = [block["evaluate_classes"] for block in blocks if "evaluate_classes" in block]
    assert load_params(
        changed(tmp_path / "params.yaml", "evaluate_classes", DEFAULTS["evaluate_classes"] | classes)
    ).evaluate_classes.names


NETWORK = {"kind": "timm", "name": "vit_small_patch16_224", "checkpoint": "dino.pth"}
NO_FILE = {"checkpoint": None}


@pytest.mark.parametrize(
    "spec",
    [
        {"layer": "blocks.11", "pooling": "cls", "size": 448, "mean": [0.5, 0.5, 0.5], "std": [1, 1, 1], "crop": 1},
        {"weights": "pretrained", "classes": "imagenet", **NO_FILE},
        {"kind": "torchvision", "name": "resnet50", "weights": "IMAGENET1K_V2", "classes": ["cat", "dog"], **NO_FILE},
        {"kind": "open_clip", "name": "ViT-B-32", "pretrained": "laion2b_s34b_b79k", "squash": True, **NO_FILE},
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


def test_a_line_on_weights_names_the_encoder(tmp_path):
    path = changed(tmp_path / "params.yaml", "encoders.mine", {"kind": "timm", "name": "resnet18"})
    assert problem(path).startswith(
        "encoders.mine: the weights are read from a file: name it as checkpoint, or set weights"
    )


SPECS = {
    "encoders": TypeAdapter(EncoderSpec),
    "image_text": TypeAdapter(ImageTextSpec),
    "generate_captions": TypeAdapter(GenerateCaptions),
}
COCA = DEFAULTS["generate_captions"]
PYTHON = {"kind": "python", "factory": "mine:build"}
CONSE = {"kind": "conse", "classifier": {**NETWORK, "head": "probe.npz", "classes": ["cat", "dog"]}}


@pytest.mark.parametrize(
    ("section", "spec", "words"),
    [
        ("encoders", {"kind": "open_clip", "name": "RN50"}, "are read from a file: .* or set pretrained to random"),
        ("encoders", {**PYTHON, "weights": "checkpoint"}, "are read from a file: .* or set weights to factory"),
        ("image_text", {"kind": "open_clip"}, "are read from a file: name it as checkpoint, or give name and pretrained"),
        ("image_text", {"kind": "open_clip", "name": "RN50", "pretrained": "checkpoint"}, "are read from a file"),
        ("generate_captions", {**COCA, "pretrained": "checkpoint"}, "are read from a file: .* or set pretrained to a tag"),
        ("encoders", {**NETWORK, "head": "probe.npz"}, "head needs classes: list the names of its outputs, in order"),
        ("encoders", {"kind": "scenes", "checkpoint": "x", "classes": ["cat"]}, "classes names the outputs of a head"),
        ("image_text", CONSE, "classifier.head is not used"),
    ],
)  # fmt: skip
def test_what_does_not_belong_together_is_refused(section, spec, words):
    with pytest.raises(ValueError, match=words):
        SPECS[section].validate_python(spec)


@pytest.mark.parametrize(
    ("section", "spec"),
    [
        ("encoders", {**NETWORK, "weights": "random", "checkpoint": None}),
        ("encoders", {**NETWORK, "weights": "random", "checkpoint": "pins/encoders.mine.txt"}),
        ("encoders", {**NETWORK, "head": "probe.npz", "classes": "imagenet"}),
        ("encoders", PYTHON),
        ("encoders", {**PYTHON, "checkpoint": "what_it_reads.npz"}),
        ("encoders", {"kind": "efficientnet_lite", "variant": 0}),
        ("image_text", {"kind": "open_clip", "name": "RN50", "pretrained": "openai"}),
        ("image_text", {"kind": "open_clip", "name": "RN50", "pretrained": "checkpoint", "checkpoint": "clip.pt"}),
        ("image_text", {"kind": "open_clip", "name": "hf-hub:org/x"}),
        (
            "image_text",
            {"kind": "open_clip", "name": "local-dir:x", "pretrained": "checkpoint", "checkpoint": "clip.pt"},
        ),
        ("encoders", {"kind": "open_clip", "name": "hf-hub:org/x"}),
        ("image_text", {"kind": "conse"}),
        ("image_text", {"kind": "conse", "checkpoint": "conse"}),
        ("generate_captions", {**COCA, "pretrained": "checkpoint", "checkpoint": "coca.pt"}),
    ],
)
def test_weights_that_are_in_no_file_need_no_placeholder(section, spec):
    assert SPECS[section].validate_python(spec)


@pytest.mark.parametrize(
    "encoder",
    [
        {"kind": "scenes", "checkpoint": "x"},
        {"kind": "efficientnet_lite", "variant": 0},
        {"kind": "torchvision", "name": "resnet18", "checkpoint": "x"},
        {"kind": "timm", "name": "test_vit", "checkpoint": "x"},
        {"kind": "open_clip", "name": "RN50", "checkpoint": "x"},
        {"kind": "python", "factory": "a:b", "checkpoint": "x"},
    ],
    ids=lambda encoder: encoder["kind"],
)
def test_features_of_every_kind_of_encoder_can_be_chosen(encoder):
    for written, read in (([17, 3], (17, 3)), ({"random": 9}, RandomFeatures(random=9)), (None, None)):
        assert TypeAdapter(EncoderSpec).validate_python(encoder | {"features": written}).features == read


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ([], ": names no feature; list at least one, or leave features out to explain all"),
        ([17, 3, 17], ": names feature 17 more than once"),
        ([3, -1], ".1: should be greater than or equal to 0"),
        ([2**70], ".0: should be less than"),
        (["3"], ".0: should be a valid integer"),
        ([True], ".0: should be a valid integer"),
        (3, ": should be a list of feature numbers, or {random: COUNT}, got 3"),
        ("chosen.txt", ": only a profile can name a file (docs/encoders.md); list the feature numbers here"),
        ({}, ".random: missing; add it"),
        ({"randm": 3}, ".randm: unknown key"),
        ({"random": 0}, ".random: should be greater than or equal to 1"),
        ({"random": 3, "seed": -1}, ".seed: should be greater than or equal to 0"),
    ],
)
def test_a_choice_of_features_that_is_none_is_refused(choice, words, tmp_path):
    line = problem(changed(tmp_path / "params.yaml", "encoders.simclr.features", choice))
    assert line.startswith(f"encoders.simclr.features{words}")


def test_features_of_an_image_text_encoder_cannot_be_chosen(tmp_path):
    classifier = {"kind": "timm", "name": "test_vit", "checkpoint": "x", "features": [1]}
    path = changed(
        tmp_path / "params.yaml", "image_text", {"kind": "conse", "checkpoint": "x", "classifier": classifier}
    )
    assert problem(path).startswith("image_text: classifier.features: only `encoders` are explained")


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (
            "encoders.simclr.basis",
            {"sae": "x", "fit": "pca"},
            ": give one of directions, sae, fit, random, got sae and fit",
        ),
        ("encoders.simclr.basis", {"fit": "pca"}, ": fit: pca needs components, the number of features"),
        ("encoders.simclr.basis", {"fit": "pac", "components": 3}, ".fit: should be 'pca', 'ica' or 'nmf'"),
        ("encoders.simclr.basis", {"sea": "x"}, ".sea: unknown key"),
        (
            "encoders.simclr",
            {"kind": "timm", "name": "x", "checkpoint": "x", "layer": ["a", "b"], "basis": {"random": 3}},
            ": basis: belongs to one layer",
        ),
    ],
)
def test_a_basis_that_is_none_is_refused(place, value, words, tmp_path):
    assert problem(changed(tmp_path / "params.yaml", place, value)).startswith(f"{place}{words}")
