"""Names of timm: tags, names of earlier versions, and repositories. Nothing is downloaded."""

from types import SimpleNamespace

import pytest

from falcon_dvc.errors import UserError
from falcon_dvc.models.encoders.timm_names import known_name, remark


def entry(name, weights="random"):
    return SimpleNamespace(name=name, weights=weights)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("test_vit", "test_vit"),
        ("test_vit.r160_in1k", "test_vit.r160_in1k"),
        ("timm/test_vit.r160_in1k", "test_vit.r160_in1k"),
        ("hf-hub:timm/test_vit.r160_in1k", "test_vit.r160_in1k"),
        ("hf_hub:timm/resnet18.a1_in1k", "resnet18.a1_in1k"),
        ("tv_resnet50", "resnet50.tv_in1k"),
        ("convnext_tiny_in22ft1k", "convnext_tiny.fb_in22k_ft_in1k"),
        ("vit_tiny_patch16_224_in21k", "vit_tiny_patch16_224.augreg_in21k"),
    ],
)
def test_names_of_timm_become_those_of_this_version(name, expected):
    assert known_name(entry(name), "encoders.x") == expected
    assert remark(entry(name), "encoders.x") == ("" if name == expected else f"timm's name of {name} is {expected}")


@pytest.mark.parametrize("weights", ["random", "checkpoint", "pretrained"])
@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("vit_tiny_patch16_224.ms_in22k", "vit_tiny_patch16_224.augreg_in21k"),
        ("resnet18.A1_IN1K", "resnet18.a1_in1k"),
        ("hf-hub:timm/test_vit.r224_in1k", "test_vit.r160_in1k"),
        ("TEST_VIT", "test_vit"),
        ("resnet_18", "resnet18"),
        ("local-dir:somewhere", "checkpoint to somewhere/model.safetensors"),
        ("BVRA/net", "hf-hub:BVRA/net"),
    ],
)
def test_unknown_names_are_refused_with_those_that_exist(name, offered, weights):
    with pytest.raises(UserError, match=r"^encoders\.x: ") as stop:
        known_name(entry(name, weights), "encoders.x")
    assert offered in str(stop.value) and "\n" not in str(stop.value)


def test_a_repository_of_others_needs_its_own_weights():
    assert known_name(entry("hf-hub:BVRA/net", "pretrained"), "encoders.x") == "hf-hub:BVRA/net"
    with pytest.raises(UserError, match=r"encoders\.x: .* weights: random set name to the architecture"):
        known_name(entry("hf-hub:BVRA/net"), "encoders.x")


def test_the_network_of_a_folder_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"architecture": "test_vit"}')
    with pytest.raises(UserError, match="set name to test_vit and checkpoint to"):
        known_name(entry(f"local-dir:{tmp_path}"), "encoders.x")
