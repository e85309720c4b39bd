"""Any layer of any network by params alone: one encoder of each kind, its features, its maps, and where they fire."""

import functools
import json
import re
import sys
from types import SimpleNamespace
from unittest import TestCase

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

import falcon_dvc
from falcon_dvc.crops.heatmaps import heatmaps_of
from falcon_dvc.errors import UserError
from falcon_dvc.models.encoders.classifiers import embedding_map, linear_classifier
from falcon_dvc.models.encoders.load import load_encoder
from falcon_dvc.models.encoders.networks import build_network
from falcon_dvc.params.schema import EncoderSpec
from tests.support.remembered import list_timm_once
from tests.support.tiny_models import TINY_CLIP

FACTORIES = '''
"""Networks of a user."""
import torch
from torch import nn


class Convolutions(nn.Module):
    size, mean, std = 32, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(True), nn.Conv2d(8, 6, 3, 2, 1))
        self.fc = nn.Linear(6, 4)

    def forward(self, image):
        return self.fc(self.body(image).mean(dim=(2, 3)))


def convolutions():
    return Convolutions()


def bare():
    return nn.Sequential(nn.Conv2d(3, 4, 3))


def prepared():
    network = bare()
    network.preprocess = lambda image: torch.full((3, 16, 16), image.width / 100)
    return network


def no_network():
    return 3


def fails():
    raise ValueError("no weights here")
'''
KINDS = {
    "torchvision": {"kind": "torchvision", "name": "resnet18", "weights": "random", "size": 64},
    "squeezenet": {"kind": "torchvision", "name": "squeezenet1_1", "weights": "random", "size": 64},
    "mobilenet": {"kind": "torchvision", "name": "mobilenet_v3_small", "weights": "random", "size": 64},
    "timm": {"kind": "timm", "name": "test_resnet", "weights": "random"},
    "convnext": {"kind": "timm", "name": "test_convnext", "weights": "random"},
    "vit": {"kind": "timm", "name": "test_vit", "weights": "random", "size": 64},
    "vit_class_token": {"kind": "timm", "name": "test_vit", "weights": "random", "size": 64, "pooling": "cls"},
    "vit_registers": {"kind": "timm", "name": "test_vit2", "weights": "random", "size": 64},
    "vit_logits": {"kind": "timm", "name": "test_vit", "weights": "random", "size": 64, "layer": "head"},
    "open_clip": {"kind": "open_clip", "name": "tiny-clip", "pretrained": "random"},
    "python": {"kind": "python", "factory": "factories_of_a_test:convolutions"},
    "max": {"kind": "python", "factory": "factories_of_a_test:convolutions", "pooling": "max"},
    "logits": {"kind": "python", "factory": "factories_of_a_test:convolutions", "layer": "fc"},
}


def noise(seed: int) -> np.ndarray:
    """An image of some size with some structure."""
    generator = np.random.default_rng(seed)
    blocks = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    height, width = generator.integers(9, 90, 2)
    return blocks[np.arange(height) * 8 // height][:, np.arange(width) * 8 // width]


IMAGES = [noise(seed) for seed in range(20)]


@pytest.fixture(scope="module", autouse=True)
def sources(tmp_path_factory):
    """Factories that can be imported, and a tiny model that open_clip knows."""
    import open_clip

    folder = tmp_path_factory.mktemp("networks")
    (folder / "factories_of_a_test.py").write_text(FACTORIES)
    (folder / "tiny-clip.json").write_text(json.dumps(TINY_CLIP))
    open_clip.add_model_config(folder / "tiny-clip.json")
    sys.path.insert(0, str(folder))
    with pytest.MonkeyPatch.context() as patch:
        list_timm_once(patch)
        yield folder
    sys.path.remove(str(folder))


def spec(**given):
    """An entry of `encoders`, checked as in params.yaml."""
    return TypeAdapter(EncoderSpec).validate_python(given)


@pytest.fixture(scope="module")
def encoders():
    """Each encoder is built once."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = load_encoder(spec(**KINDS[name]), param=f"encoders.{name}")
        return made[name]

    return get


EXPECTED = {  # layer, width, grid or None, where heatmaps come from
    "torchvision": ("layer4", 512, (2, 2), "layer4"),
    "squeezenet": ("classifier.0", 512, (3, 3), "classifier.0"),
    "mobilenet": ("features", 576, (2, 2), "features"),
    "timm": ("layer4", 96, (5, 5), "layer4"),
    "convnext": ("norm_pre", 64, (5, 5), "norm_pre"),
    "vit": ("norm", 64, (4, 4), "norm"),
    "vit_class_token": ("norm", 64, None, "blocks.4"),
    "vit_registers": ("norm", 64, (4, 4), "norm"),
    "vit_logits": ("head", 1000, None, "blocks.4"),
    "open_clip": ("ln_post", 64, (4, 4), "ln_post"),
    "python": ("body", 6, (8, 8), "body"),
    "max": ("body", 6, (8, 8), "body"),
    "logits": ("fc", 4, None, "body"),
}


@pytest.mark.parametrize("name", KINDS)
def test_layers_widths_and_maps(name, encoders):
    encoder, (layer, width, grid, located) = encoders(name), EXPECTED[name]
    features, maps = encoder.activations(IMAGES[:3])
    (found,) = encoder.description["layers"]
    assert (found["layer"], encoder.width, found["heatmap_layer"]) == (layer, width, located)
    assert features.shape == (3, width) and features.dtype == np.float32
    assert features.std(axis=0).max() > 0
    assert (maps is None) if grid is None else (maps.shape == (3, width, *grid) and maps.dtype == np.float32)


@pytest.mark.parametrize(("name", "options"), [("timm", {}), ("vit_class_token", {"size": 64, "pooling": "cls"})])
def test_a_network_in_memory_is_read_as_by_params(name, options, encoders):
    known = encoders(name)
    found = falcon_dvc.network(build_network(spec(**KINDS[name])).module, **options)
    assert found.described_preparation() == known.described_preparation()
    assert found.description["layers"] == known.description["layers"]
    (features, _), (expected, _) = found.activations(IMAGES[:3]), known.activations(IMAGES[:3])
    assert np.array_equal(features, expected)


@pytest.mark.parametrize("name", KINDS)
def test_features_are_the_same_in_batches_of_1_7_and_20(name, encoders):
    encoder = encoders(name)
    whole, _ = encoder.activations(IMAGES)
    for size, end in ((1, 4), (7, 14)):
        parts = [encoder.activations(IMAGES[start : start + size])[0] for start in range(0, end, size)]
        np.testing.assert_allclose(np.concatenate(parts), whole[:end], atol=1e-4 * np.abs(whole).max())


@pytest.mark.parametrize("name", ["torchvision", "vit", "open_clip", "python", "max"])
def test_features_are_pooled_from_their_maps(name, encoders):
    features, maps = encoders(name).activations(IMAGES[:4])
    pooled = maps.max(axis=(2, 3)) if name == "max" else maps.mean(axis=(2, 3))
    np.testing.assert_allclose(features, pooled, atol=1e-5 * np.abs(features).max())


@pytest.mark.parametrize("name", ["torchvision", "vit", "open_clip", "python", "max"])
def test_the_closed_form_is_grad_cam(name, encoders):
    encoder = encoders(name)
    directions = np.random.default_rng(0).normal(size=(4, encoder.width)).astype(np.float32)
    _, maps = encoder.activations(IMAGES[:4])
    expected = heatmaps_of(maps, directions)
    assert expected.max() > 0
    np.testing.assert_allclose(encoder.heatmaps(IMAGES[:4], directions), expected, atol=1e-4 * expected.max())


@pytest.mark.parametrize("name", ["vit_class_token", "vit_logits", "logits"])
def test_other_features_get_a_heatmap_for_each_image_and_direction(name, encoders):
    encoder = encoders(name)
    directions = np.eye(encoder.width, dtype=np.float32)[:3]
    together = encoder.heatmaps(IMAGES[:3], directions)
    assert together.shape[0] == 3 and together.shape[1] == together.shape[2] > 1
    assert together.max() > 0 and (together >= 0).all()
    alone = [encoder.heatmaps([image], row[None])[0] for image, row in zip(IMAGES[:3], directions, strict=True)]
    np.testing.assert_allclose(together, alone, atol=1e-4 * together.max())


SEVERAL = {
    "blocks of a ViT": ("vit", ["blocks.1", "blocks.3", "norm"]),
    "class tokens": ("vit_class_token", ["blocks.3", "blocks.5"]),
    "maps of two sizes": ("python", ["body.0", "body.2", "body"]),
    "stages of a ResNet": ("torchvision", ["layer2", "layer4"]),
    "vectors and maps": ("python", ["body", "fc"]),
}


@functools.cache
def each_and_all(name):
    """An encoder of several layers, and one of each layer alone: built once for the tests that compare them."""
    kind, names = SEVERAL[name]
    given = {key: value for key, value in KINDS[kind].items() if key != "layer"}
    return load_encoder(spec(**given, layer=names)), [load_encoder(spec(**given, layer=layer)) for layer in names]


@pytest.mark.parametrize("name", SEVERAL)
def test_several_layers_are_those_layers_beside_each_other(name):
    together, alone = each_and_all(name)
    features, maps = together.activations(IMAGES[:4])
    pairs = [encoder.activations(IMAGES[:4]) for encoder in alone]
    np.testing.assert_allclose(features, np.concatenate([some for some, _ in pairs], axis=1), rtol=1e-6, atol=1e-6)
    described = together.description["layers"]
    assert [one["layer"] for one in described] == SEVERAL[name][1] and together.width == features.shape[1]
    assert [one["first_feature"] for one in described] == list(np.cumsum([0] + [one.width for one in alone[:-1]]))
    if maps is not None:
        for one, (_, own) in zip(described, pairs, strict=True):
            part = maps[:, one["first_feature"] : one["first_feature"] + one["features"]]
            np.testing.assert_allclose(part.mean(axis=(2, 3)), own.mean(axis=(2, 3)), atol=1e-5 * np.abs(own).max())
            np.testing.assert_allclose(part.max(axis=(2, 3)), own.max(axis=(2, 3)), rtol=1e-6)


@pytest.mark.parametrize("name", SEVERAL)
def test_several_layers_take_one_pass(name, monkeypatch):
    together, _ = each_and_all(name)
    module, passes = together._network.module, []
    handle = next(iter(module.modules())).register_forward_pre_hook(lambda *_: passes.append(1))
    together.activations(IMAGES[:4])
    handle.remove()
    assert len(passes) == 1


@pytest.mark.parametrize("name", SEVERAL)
def test_a_feature_fires_where_it_does_in_its_layer_alone(name):
    together, alone = each_and_all(name)
    for encoder, one in zip(alone, together.description["layers"], strict=True):
        direction = np.random.default_rng(0).normal(size=(2, encoder.width)).astype(np.float32)
        embedded = np.zeros((2, together.width), dtype=np.float32)
        embedded[:, one["first_feature"] : one["first_feature"] + one["features"]] = direction
        own, found = encoder.heatmaps(IMAGES[:2], direction), together.heatmaps(IMAGES[:2], embedded)
        times = found.shape[1] // own.shape[1]
        np.testing.assert_allclose(found, own.repeat(times, axis=1).repeat(times, axis=2), atol=1e-5 * own.max())


def test_a_group_across_layers_is_the_closed_form_of_all_maps():
    together, _ = each_and_all("maps of two sizes")
    _, maps = together.activations(IMAGES[:3])
    directions = np.random.default_rng(1).normal(size=(3, together.width)).astype(np.float32)
    expected = heatmaps_of(maps, directions)
    np.testing.assert_allclose(together.heatmaps(IMAGES[:3], directions), expected, atol=1e-4 * expected.max())


def test_grids_that_do_not_fit_are_named():
    given = {"kind": "torchvision", "name": "squeezenet1_1", "weights": "random", "size": 64}
    with pytest.raises(UserError, match=r"encoders\.x\.layer: the positions of .* do not fit into .*own"):
        load_encoder(spec(**given, layer=["features.1", "features.4"]), param="encoders.x")


@pytest.mark.parametrize("layers", [[], ["body", "body"]])
def test_layers_differ(layers):
    with pytest.raises(ValidationError, match="one or more different names"):
        spec(**KINDS["python"] | {"layer": layers})


def test_a_heatmap_layer_can_be_told(encoders):
    told = load_encoder(spec(**KINDS["vit_class_token"], heatmap_layer="blocks.5.norm1"))
    assert told.description["layers"][0]["heatmap_layer"] == "blocks.5.norm1"
    assert told.activations(IMAGES[:1])[1] is None
    early = load_encoder(spec(**KINDS["python"], heatmap_layer="body.2"))
    assert early.heatmaps(IMAGES[:1], np.ones((1, 6))).shape == (1, 16, 16)
    same = load_encoder(spec(**KINDS["python"], heatmap_layer="body"))
    assert same.activations(IMAGES[:1])[1] is not None


def test_the_class_token_is_what_timms_classifier_reads(encoders):
    encoder = encoders("vit_class_token")
    network = build_network(spec(**KINDS["vit_class_token"])).module
    with torch.no_grad():
        expected = network.forward_head(
            network.forward_features(encoder._network.preparation.batch(IMAGES[:2])), pre_logits=True
        )
    np.testing.assert_allclose(encoder.activations(IMAGES[:2])[0], expected, atol=1e-5)


def test_the_towers_class_token_becomes_clips_embedding(encoders):
    encoder = load_encoder(spec(**KINDS["open_clip"], pooling="cls"))
    visual = encoder._network.module
    with torch.no_grad():
        expected = visual(encoder._network.preparation.batch(IMAGES[:2]))
    np.testing.assert_allclose(encoder.activations(IMAGES[:2])[0] @ visual.proj.numpy(), expected, atol=1e-5)
    weights, constant = encoder.embedding_map()
    np.testing.assert_allclose(encoder.activations(IMAGES[:2])[0] @ weights + constant, expected, atol=1e-5)


def test_the_mean_of_the_towers_tokens_leads_to_no_embedding_and_other_kinds_have_none(encoders):
    assert encoders("open_clip").embedding_map() is None
    assert embedding_map(spec(**KINDS["torchvision"])) is None
    weights, constant = embedding_map(spec(**KINDS["open_clip"], pooling="cls"))
    assert weights.shape == (64, 16) and not constant.any()


@pytest.mark.parametrize(
    ("name", "transforms"),
    [("torchvision", "torchvision"), ("timm", "timm"), ("open_clip", "open_clip")],
)
def test_the_preprocessing_is_the_networks_own(name, transforms):
    """Nearly: scaling a cut and cutting a scaled image round differently."""
    from PIL import Image

    plain = {key: value for key, value in KINDS[name].items() if key != "size"}
    found = build_network(spec(**plain)).preparation
    ramp = np.linspace(0, 255, 300)[:, None, None] * np.ones((300, 400, 3)) * np.linspace(0.2, 1, 400)[:, None]
    picture = ramp.astype(np.uint8)
    expected = own_transforms(transforms, plain["name"])(Image.fromarray(picture))
    assert found.batch([picture]).shape[1:] == expected.shape
    np.testing.assert_allclose(found.batch([picture])[0], expected, atol=0.06)


def own_transforms(kind, name):
    if kind == "torchvision":
        from torchvision.models import get_model_weights

        return next(iter(get_model_weights(name))).transforms()
    if kind == "timm":
        import timm

        model = timm.create_model(name, pretrained=False)
        return timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    import open_clip

    return open_clip.create_model_and_transforms(name, pretrained=None)[2]


def test_params_replace_the_preprocessing():
    given = {"size": 40, "mean": [0.1, 0.2, 0.3], "std": [1, 2, 3], "squash": True}
    found = build_network(spec(**(KINDS["torchvision"] | given))).preparation
    assert (found.size, found.mean, found.std) == (40, (0.1, 0.2, 0.3), (1, 2, 3))
    assert found.field(500, 40) == (0, 0, 500, 40)
    cut = build_network(spec(**(KINDS["torchvision"] | {"crop": 0.5}))).preparation
    assert cut.field(200, 100) == (75, 25, 125, 75)


@pytest.mark.parametrize("name", ["mobilenet", "timm"])
def test_features_of_random_weights_neither_vanish_nor_overflow(name):
    features, maps = load_encoder(spec(**KINDS[name])).activations([noise(seed) for seed in range(4)])
    assert 1e-2 < np.median(features.std(axis=0)) < 1e2
    assert np.abs(maps).max() < np.finfo(np.float16).max / 100


def test_random_weights_come_from_the_seed():
    state = torch.random.get_rng_state()
    first, again, other = (build_network(spec(**KINDS["python"], seed=seed)).module.fc.weight for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_preprocess_of_the_users_is_used(encoders):
    encoder = load_encoder(spec(kind="python", factory="factories_of_a_test:prepared"))
    grey = np.zeros((10, 50, 3), dtype=np.uint8)
    assert encoder.field(50, 10) == (0, 0, 50, 10)
    assert encoder._network.preparation.batch([grey]).unique().tolist() == [0.5]


def test_a_checkpoint_of_moco_loads_into_torchvisions_network(tmp_path):
    source = build_network(spec(**KINDS["torchvision"], seed=5)).module
    state = {f"module.encoder_q.{name}": tensor for name, tensor in source.state_dict().items() if name[:2] != "fc"}
    torch.save({"state_dict": state | {"module.queue": torch.ones(2)}}, tmp_path / "moco.pth.tar")
    given = {"weights": "checkpoint", "checkpoint": str(tmp_path / "moco.pth.tar")}
    encoder = load_encoder(spec(**(KINDS["torchvision"] | given)))
    expected = load_encoder(spec(**KINDS["torchvision"], seed=5)).activations(IMAGES[:2])[0]
    np.testing.assert_array_equal(encoder.activations(IMAGES[:2])[0], expected)
    assert encoder.description["checkpoint"]["left"] == ["module.queue"]


def test_a_checkpoint_of_dino_loads_into_timms_network(tmp_path):
    source = build_network(spec(**KINDS["vit"], seed=5)).module
    state = {f"backbone.{name}": tensor for name, tensor in source.state_dict().items() if name[:4] != "head"}
    torch.save({"student": {}, "teacher": state | {"head.mlp.0.weight": torch.ones(2)}}, tmp_path / "dino.pth")
    given = {"weights": "checkpoint", "checkpoint": str(tmp_path / "dino.pth")}
    encoder = load_encoder(spec(**(KINDS["vit"] | given)))
    expected = load_encoder(spec(**KINDS["vit"], seed=5)).activations(IMAGES[:2])[0]
    np.testing.assert_array_equal(encoder.activations(IMAGES[:2])[0], expected)
    assert encoder.description["checkpoint"]["nesting"] == "teacher"


def test_a_checkpoint_of_clip_loads_into_its_tower(tmp_path):
    import open_clip

    torch.manual_seed(3)
    model = open_clip.create_model("tiny-clip", pretrained=None)
    torch.save(model.state_dict(), tmp_path / "clip.pt")
    with TestCase().assertNoLogs(level="WARNING"):  # open_clip warns of random numbers, which the file replaces
        encoder = load_encoder(spec(kind="open_clip", name="tiny-clip", checkpoint=str(tmp_path / "clip.pt")))
    assert torch.equal(encoder._network.module.conv1.weight, model.visual.conv1.weight)
    assert encoder.description["checkpoint"]["prefix"] == "visual."


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (KINDS["torchvision"] | {"name": "resnet81"}, r"encoders\.x: torchvision's model 'resnet81' is unknown; .*resnet18"),
        (KINDS["torchvision"] | {"weights": "IMAGENET"}, r"encoders\.x: weights of resnet18 'IMAGENET' .*IMAGENET1K_V1"),
        (KINDS["timm"] | {"name": "resnet50x"}, r"encoders\.x: timm's model 'resnet50x' is unknown; .*resnet50"),
        (KINDS["open_clip"] | {"name": "ViT-B-23"}, r"encoders\.x: open_clip's model 'ViT-B-23' is unknown; .*ViT-B-32"),
        (
            {"kind": "open_clip", "name": "ViT-B-32", "pretrained": "laion"},
            r"encoders\.x: weights of ViT-B-32 'laion' is unknown; use for instance laion",
        ),
        (KINDS["python"] | {"layer": "bodi"}, r"encoders\.x\.layer: the network has no layer 'bodi'.*did you mean body"),
        (KINDS["python"] | {"pooling": "cls"}, r"encoders\.x\.pooling: .*'body' holds no class token"),
        (KINDS["vit_registers"] | {"pooling": "cls"}, r"encoders\.x\.pooling: .*'norm' holds no class token"),
        (KINDS["logits"] | {"pooling": "mean"}, r"encoders\.x\.pooling: .*'fc' is a vector"),
        (
            KINDS["vit_class_token"] | {"heatmap_layer": "norm"},
            r"encoders\.x\.heatmap_layer: the features at 'norm' do not depend on positions of 'norm'",
        ),
        (KINDS["python"] | {"layer": "body.0", "heatmap_layer": "body"}, r"do not depend on positions of 'body'"),
        ({"kind": "python", "factory": "no.such:network"}, r"encoders\.x: factory no\.such:network failed .*No module"),
        ({"kind": "python", "factory": "factories_of_a_test:none"}, r"factory .*:none failed \(AttributeError"),
        ({"kind": "python", "factory": "factories_of_a_test:no_network"}, r"returned a int; it must return a torch\.nn\.Mod"),
        ({"kind": "python", "factory": "factories_of_a_test:fails"}, r"failed \(ValueError: no weights here\)"),
        ({"kind": "python", "factory": "factories_of_a_test:bare", "size": 32}, r"no attribute `preprocess`; give mean, std"),
        (KINDS["open_clip"] | {"pretrained": "checkpoint", "checkpoint": "none.pt"}, r"none\.pt: not "),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_named_in_one_line(given, message):
    with pytest.raises(UserError, match=message) as stop:
        load_encoder(spec(**given), param="encoders.x")
    assert "\n" not in str(stop.value)


@pytest.mark.parametrize(
    ("patched", "given"),
    [
        ("timm.create_model", KINDS["timm"] | {"weights": "pretrained"}),
        ("torchvision.models.ResNet18_Weights.get_state_dict", KINDS["torchvision"] | {"weights": "IMAGENET1K_V1"}),
        (
            "open_clip.pretrained.download_pretrained",
            {"kind": "open_clip", "name": "ViT-B-32", "pretrained": "laion2b_s34b_b79k"},
        ),
    ],
)
def test_without_a_network_the_error_says_what_to_do(patched, given, monkeypatch):
    def offline(*_args, **_options):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(patched, offline)
    with pytest.raises(UserError, match=r"encoders\.x: .*no route to host.* name it as checkpoint"):
        load_encoder(spec(**given), param="encoders.x")


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "torchvision"},
        {"kind": "timm", "name": "test_vit", "weights": "IMAGENET1K_V1"},
        {"kind": "timm", "name": "test_vit", "pooling": "median"},
        {"kind": "timm", "name": "test_vit", "layers": "norm"},
        {"kind": "timm", "name": "test_vit", "mean": [0.5, 0.5]},
        {"kind": "timm", "name": "test_vit", "std": [0.5, 0.5, 0]},
        {"kind": "timm", "name": "test_vit", "crop": 1.5},
        {"kind": "timm", "name": "test_vit", "squash": "yes"},
        {"kind": "timm", "name": "test_vit", "size": 0},
        {"kind": "python", "factory": "module.function"},
        {"kind": "python", "factory": "os:system('x')"},
        {"kind": "timm", "name": "test_vit", "checkpoint": None},
    ],
)
def test_params_that_are_wrong_stop(given):
    with pytest.raises(ValidationError):
        spec(**{"checkpoint": "x.pth"} | given)


@pytest.mark.parametrize("name", ["torchvision", "vit_class_token", "python"])
def test_the_classifier_gives_the_networks_logits(name, monkeypatch):
    classes = [f"class {index}" for index in range(4)] if name == "python" else "imagenet"
    found = linear_classifier(spec(**KINDS[name], classes=classes))
    encoder = load_encoder(spec(**KINDS[name]))
    with torch.no_grad():
        expected = encoder._network.module(encoder._network.preparation.batch(IMAGES[:3]))
    logits = encoder.activations(IMAGES[:3])[0] @ found.weights.T + found.bias
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    first = ("class 0", "class 0") if name == "python" else ("n01440764", "tench")
    assert (found.ids[0], found.names[0]) == first and len(set(found.names)) == len(found.bias)


@pytest.mark.parametrize(
    "given",
    [
        KINDS["torchvision"] | {"layer": "layer3", "classes": "imagenet"},
        KINDS["python"] | {"pooling": "max", "classes": ["a", "b", "c", "d"]},
        KINDS["squeezenet"] | {"classes": "imagenet"},
        KINDS["convnext"] | {"classes": "imagenet"},  # a normalisation lies between
        KINDS["open_clip"] | {"classes": "imagenet"},
    ],
)
def test_without_a_linear_classifier_of_these_features_there_is_none(given):
    assert linear_classifier(spec(**given)) is None


def test_a_classifier_that_is_not_in_the_checkpoint_is_none(tmp_path):
    source = build_network(spec(**KINDS["timm"], seed=5)).module.state_dict()
    given = KINDS["timm"] | {"weights": "checkpoint", "checkpoint": str(tmp_path / "x.pth"), "classes": "imagenet"}
    torch.save(source, tmp_path / "x.pth")
    np.testing.assert_array_equal(linear_classifier(spec(**given)).weights, source["fc.weight"])
    torch.save({name: tensor for name, tensor in source.items() if name[:2] != "fc"}, tmp_path / "x.pth")
    assert linear_classifier(spec(**given)) is None


def test_a_classifier_without_names_says_what_to_list():
    with pytest.raises(UserError, match=r"encoders\.x\.classes: missing; list the names of the classifier's 4 outputs"):
        linear_classifier(spec(**KINDS["python"]), "encoders.x")


@pytest.mark.parametrize("classes", [["a", "b"], ["a", "b", "c", "c"], "imagenet"])
def test_classes_that_do_not_fit_are_refused(classes):
    with pytest.raises(UserError, match=r"encoders\.x\.classes: must hold 4 different names"):
        linear_classifier(spec(**KINDS["python"], classes=classes), "encoders.x")


def test_large_values_stay_finite_in_half_precision(encoders, monkeypatch):
    encoder = load_encoder(spec(**KINDS["python"]))
    encoder._network.module.body[3].weight.mul_(1e7)
    _, maps = encoder.activations(IMAGES[:2])
    assert np.isfinite(maps.astype(np.float16)).all() and maps.max() > 6e4


def test_kinds_without_gradients_say_so():
    from falcon_dvc.models.encoders.load import load_located

    with pytest.raises(UserError, match=r"encoders\.x: heatmaps of kind 'scenes' need maps\.npy"):
        load_located(SimpleNamespace(kind="scenes"), param="encoders.x")


def test_a_network_that_does_not_take_its_size_is_named(monkeypatch):
    class Stubborn(nn.Module):
        size, mean, std = 32, (0.5,) * 3, (0.5,) * 3

        def __init__(self):
            super().__init__()
            self.flat = nn.Linear(3 * 64 * 64, 2)

        def forward(self, image):
            return self.flat(image.flatten(1))

    monkeypatch.setattr("factories_of_a_test.convolutions", Stubborn)
    with pytest.raises(UserError, match=r"encoders\.x: the network does not take images of 32 pixels"):
        load_encoder(spec(**KINDS["python"]), param="encoders.x")


def test_a_fine_tuned_classifier_of_two_classes_is_found_by_failures(tmp_path):
    from torchvision.models import resnet18

    torch.save(resnet18(num_classes=2).state_dict(), tmp_path / "catdog.pth")
    given = {"kind": "torchvision", "name": "resnet18", "checkpoint": str(tmp_path / "catdog.pth"), "size": 64}
    found = linear_classifier(spec(**given, classes=["cat", "dog"]))
    assert found.names == ("cat", "dog") and found.weights.shape == (2, 512)
    with pytest.raises(UserError, match=r"encoders\.classes: must hold 2 different names"):
        linear_classifier(spec(**given, classes=["cat", "dog", "bird"]))


LACKING = {
    "the stem": ("test_resnet", "conv1.0.weight", {}),
    "running statistics": ("test_resnet", "layer2.0.bn1.running_var", {}),
    "the positions": ("test_vit", "pos_embed", {"size": 32}),
    "the class token": ("test_vit", "cls_token", {"size": 32}),
    "the last normalisation": ("test_vit", "norm.weight", {"size": 32}),
}


@pytest.mark.parametrize("lack", LACKING)
def test_a_file_without_a_tensor_that_features_depend_on_is_refused(lack, tmp_path):
    name, lacking, given = LACKING[lack]
    source = build_network(spec(kind="timm", name=name, weights="random", seed=5, **given)).module.state_dict()
    torch.save({key: tensor for key, tensor in source.items() if key != lacking}, tmp_path / "x.pth")
    wanted = spec(kind="timm", name=name, checkpoint=str(tmp_path / "x.pth"), **given)
    with pytest.raises(UserError, match=rf"x\.pth: lacks {lacking}, which the features of encoders\.x depend on"):
        load_encoder(wanted, param="encoders.x")


def test_what_lies_behind_the_layer_may_be_missing(tmp_path):
    source = build_network(spec(kind="timm", name="test_vit", weights="random", size=32)).module.state_dict()
    torch.save({key: tensor for key, tensor in source.items() if not key.startswith("norm.")}, tmp_path / "x.pth")
    wanted = spec(kind="timm", name="test_vit", checkpoint=str(tmp_path / "x.pth"), size=32, layer="blocks.3")
    encoder = load_encoder(wanted)
    assert encoder.description["checkpoint"]["missing"] == ["norm.weight", "norm.bias"]
    assert encoder.outputs() is None and encoder.final_layer() is None


LAYER = "features.denseblock1.denselayer1.conv.1.weight"  # in the released file


def test_torchvisions_file_of_a_densenet_loads_by_the_name_of_its_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    source = build_network(spec(kind="torchvision", name="densenet121", weights="random", seed=5, size=32)).module
    old = {re.sub(r"(denselayer\d+\.\w+)([12])\.", r"\1.\2.", key): value for key, value in source.state_dict().items()}
    assert LAYER in old
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    torch.save(old, tmp_path / "hub/checkpoints/densenet121-a639ec97.pth")
    weights = "DenseNet121_Weights.IMAGENET1K_V1"
    network = build_network(spec(kind="torchvision", name="densenet121", weights=weights, size=32))
    assert torch.equal(network.module.features.denseblock1.denselayer1.conv1.weight, old[LAYER])
    assert network.classes == ("imagenet",) and not network.untrained


@pytest.fixture(scope="module")
def mobilenet():
    """The tensors of a network that torchvision has released with two sets of weights."""
    return build_network(spec(kind="torchvision", name="mobilenet_v2", weights="random")).module.state_dict()


@pytest.mark.parametrize(
    ("file", "share"),
    [
        ("mobilenet_v2-b0353104.pth", 224 / 256),
        ("mobilenet_v2-7ebf99e0.pth", 224 / 232),
        ("own.pth", 224 / 256),
    ],
)
def test_a_file_under_the_name_of_released_weights_has_their_preprocessing(file, share, mobilenet, tmp_path):
    torch.save(mobilenet, tmp_path / file)
    network = build_network(spec(kind="torchvision", name="mobilenet_v2", checkpoint=str(tmp_path / file)))
    assert network.preparation.share == share


@pytest.mark.parametrize("weights", ["IMAGENET1K_V3", "pretrained"])
def test_unknown_weights_of_torchvision_are_refused_with_those_that_exist(weights):
    with pytest.raises(UserError, match=r"encoders\.x: .* IMAGENET1K_V1, IMAGENET1K_V2"):
        build_network(spec(kind="torchvision", name="resnet50", weights=weights), "encoders.x")


def test_a_size_that_a_network_cannot_have_is_named():
    wanted = spec(kind="timm", name="xcit_nano_12_p16_224", weights="random", size=100)
    with pytest.raises(
        UserError, match=r"encoders\.x: xcit_nano_12_p16_224 cannot be built for size 100 .*; correct size"
    ):
        build_network(wanted, "encoders.x")


def test_another_name_of_the_network_is_told():
    wanted = spec(kind="timm", name="hf-hub:timm/test_vit.r160_in1k", weights="random")
    assert load_encoder(wanted).description["remarks"] == [
        "timm's name of hf-hub:timm/test_vit.r160_in1k is test_vit.r160_in1k"
    ]
