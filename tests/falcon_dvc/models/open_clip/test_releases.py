"""Activation and preprocessing of a file are those of its release, or the params must decide."""

from pathlib import Path

import open_clip
import pytest
from open_clip.pretrained import _PRETRAINED

from falcon_dvc.errors import UserError
from falcon_dvc.models.open_clip.releases import Clues, settings_of_file, settings_without_file

OPENAI, HALF, ZERO, IMAGENET = 0.48145466, 0.5, 0.0, 0.485  # first channel of the means that open_clip uses
SNAPSHOT = "hub/models--{}/snapshots/abc/open_clip_model.safetensors"


def settings(name, file, given=None, **clues):
    return settings_of_file(name, Path(file), Clues(**clues), given or {}, "image_text")[0]


@pytest.mark.parametrize(
    ("name", "file", "quick_gelu", "mean", "resize_mode"),
    [
        # The name of a release in that of the file or of its folder.
        ("ViT-B-32", "openai.safetensors", True, OPENAI, "shortest"),
        ("ViT-B-32", "clip-vit-b32-OpenAI.pt", True, OPENAI, "shortest"),
        ("ViT-B-32", "openai/open_clip_model.safetensors", True, OPENAI, "shortest"),
        ("ViT-B-32", SNAPSHOT.format("timm--vit_base_patch32_clip_224.openai"), True, OPENAI, "shortest"),
        ("ViT-B-32", SNAPSHOT.format("timm--vit_base_patch32_clip_224.metaclip_2pt5b"), True, OPENAI, "shortest"),
        ("ViT-B-32", SNAPSHOT.format("laion--CLIP-ViT-B-32-laion2B-s34B-b79K"), False, OPENAI, "shortest"),
        ("ViT-B-32", "CLIP-ViT-B-32-DataComp.XL-s13B-b90K/open_clip_pytorch_model.bin", False, OPENAI, "shortest"),
        ("ViT-B-32", "vit_b_32-quickgelu-laion400m_e32-46683a32.pt", True, OPENAI, "shortest"),
        ("ViT-B-32", "b32_400m.pt", True, OPENAI, "shortest"),
        ("ViT-B-32", "my-quickgelu-run.pt", True, OPENAI, "shortest"),
        ("ViT-B-16", "vit_b_16-laion400m_e32-55e67d44.pt", False, OPENAI, "shortest"),
        ("ViT-B-16", "DFN2B-CLIP-ViT-B-16/open_clip_pytorch_model.bin", True, OPENAI, "shortest"),
        ("ViT-L-14", "DFN2B-CLIP-ViT-L-14/open_clip_pytorch_model.bin", True, OPENAI, "shortest"),
        ("ViT-L-14", "DFN2B-CLIP-ViT-L-14-39B/open_clip_model.safetensors", False, OPENAI, "shortest"),
        ("ViT-L-14", "CLIP-ViT-L-14-laion2B-s32B-b82K.bin", False, HALF, "shortest"),
        ("ViT-H-14", "dfn5b.bin", True, OPENAI, "squash"),
        ("ViT-H-14", "h14_v1.2_altogether.pt", False, OPENAI, "shortest"),
        # All releases of the architecture agree.
        ("RN50", "clip.pt", True, OPENAI, "shortest"),
        ("ViT-L-14-336", "clip.pt", True, OPENAI, "shortest"),
        ("ViT-B-32-quickgelu", "clip.pt", True, OPENAI, "shortest"),
        ("MobileCLIP-S1", "mobileclip_s1.pt", False, ZERO, "shortest"),
        ("MobileCLIP2-S4", "x.pt", False, OPENAI, "shortest"),
        ("ViT-B-16-SigLIP", "siglip.safetensors", False, HALF, "squash"),
        ("ViT-SO400M-14-SigLIP2", "siglip2.safetensors", False, HALF, "squash"),
        ("ViT-L-14-CLIPA", "clipa.bin", False, IMAGENET, "squash"),
        ("PE-Core-B-16", "pe.bin", False, HALF, "squash"),
        ("nllb-clip-base-siglip", "nllb.bin", False, HALF, "squash"),
        ("roberta-ViT-B-32", "roberta.bin", True, OPENAI, "shortest"),
        # No release is known.
        ("ViT-S-32", "own.pt", False, OPENAI, "shortest"),
    ],
)
def test_a_file_is_used_as_its_release(name, file, quick_gelu, mean, resize_mode):
    found = settings(name, file)
    assert (found.quick_gelu, found.mean[0], found.resize_mode) == (quick_gelu, mean, resize_mode)


@pytest.mark.parametrize(
    ("clues", "quick_gelu"),
    [({"openai": True}, True), ({"training": True}, False), ({"openai": True, "training": True}, True)],
)
def test_the_content_of_a_file_can_name_its_release(clues, quick_gelu):
    assert settings("ViT-B-32", "clip.pt", **clues).quick_gelu is quick_gelu


def test_a_checkpoint_of_a_released_training_is_used_as_the_release():
    assert settings("ViT-B-32", "vit_b_32-quickgelu-laion400m_e31-d867053b.pt", training=True).quick_gelu


@pytest.mark.parametrize(
    ("name", "given", "asked"),
    [
        ("ViT-B-32", {}, "set quick_gelu, or name the file after its release, for instance ViT-B-32-openai.pt"),
        ("ViT-L-14", {}, "set quick_gelu and mean and std, or name"),
        ("ViT-L-14", {"quick_gelu": False}, "set mean and std, or name"),
        ("ViT-H-14", {"quick_gelu": True}, "squash false: metaclip_fullcc; squash true: dfn5b"),
        ("ViT-H-14-quickgelu", {}, "set squash, or name"),
    ],
)
def test_releases_that_differ_are_named(name, given, asked):
    with pytest.raises(UserError) as error:
        settings(name, "clip.pt", given)
    assert str(error.value).startswith(f"image_text: clip.pt: releases of {name} differ") and asked in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "given", "quick_gelu"),
    [
        ("ViT-B-32", {"quick_gelu": True}, True),
        ("ViT-B-32", {"quick_gelu": False}, False),
        ("ViT-L-14", {"quick_gelu": True}, True),
        ("ViT-H-14", {"quick_gelu": True, "resize_mode": "squash"}, True),
    ],
)
def test_params_decide_between_releases(name, given, quick_gelu):
    assert settings(name, "clip.pt", given).quick_gelu is quick_gelu


def test_every_tag_has_its_own_activation_and_preprocessing():
    for name, releases in _PRETRAINED.items():
        own = open_clip.get_model_config(name).get("quick_gelu", False)
        for tag, release in releases.items():
            found = settings_without_file(name, tag)
            assert found.quick_gelu == (own or release.get("quick_gelu", False)), (name, tag)
            assert found.preprocessing == {key: release[key] for key in found.preprocessing}, (name, tag)


def test_random_weights_are_used_as_the_releases_but_for_the_activation():
    assert settings_without_file("ViT-B-16-SigLIP", None).resize_mode == "squash"
    assert settings_without_file("ViT-L-14-336", None).quick_gelu is False
    assert settings_without_file("ViT-H-14", None).resize_mode == "shortest"
