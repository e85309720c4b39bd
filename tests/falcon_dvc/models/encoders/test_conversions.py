"""Files with the names and sizes of their authors: they load as the library of the network loads them."""

import re

import pytest
import timm
import torch
from torchvision import models
from torchvision.models.swin_transformer import SwinTransformerBlockV2

from falcon_dvc.errors import UserError
from falcon_dvc.models.encoders.released_checkpoints import load_tensors, summary

EYE = torch.eye(4)


def dinov2_with_registers(state):
    """Meta's file adds the class token's own position to it when the network runs; timm's file has done so."""
    renamed = {name.replace("reg_token", "register_tokens"): tensor for name, tensor in state.items()}
    first = torch.ones_like(state["cls_token"])
    changed = {"pos_embed": torch.cat([first, state["pos_embed"]], 1), "cls_token": state["cls_token"] - first}
    return renamed | changed | {"mask_token": torch.zeros(1, 4)}


def dinov3(state):
    """Meta's file has one bias for query, key and value; the key's is masked."""
    renamed = {}
    for name, tensor in state.items():
        for own, theirs in (("gamma_1", "ls1.gamma"), ("gamma_2", "ls2.gamma"), ("reg_token", "storage_tokens")):
            name = name.replace(own, theirs)
        if name.endswith("q_bias"):
            value = state[name.replace("q_bias", "v_bias")]
            renamed[name.replace("q_bias", "qkv.bias")] = torch.cat([tensor, torch.ones_like(value), value])
        elif not name.endswith("v_bias"):
            renamed[name] = tensor
    return renamed | {"mask_token": torch.zeros(1, 4), "rope_embed.periods": torch.zeros(16)}


def convnext(state):
    rules = {
        r"head\.norm": "norm",
        r"head\.fc": "head",
        r"stages\.(\d)\.blocks": r"stages.\1",
        r"stages\.(\d)\.downsample": r"downsample_layers.\1",
        "stem": "downsample_layers.0",
        "conv_dw": "dwconv",
        r"mlp\.fc": "pwconv",
    }
    return by_rules(state, rules) | {"norms.3.weight": torch.zeros(2)}


def by_rules(state, rules):
    renamed = {}
    for name, tensor in state.items():
        for old, new in rules.items():
            name = re.sub(old, new, name)
        renamed[name] = tensor
    return renamed


def swin(state):
    renamed = {
        re.sub(r"layers\.(\d)\.downsample", lambda at: f"layers.{int(at[1]) - 1}.downsample", name): tensor
        for name, tensor in state.items()
    }
    buffers = {"layers.0.blocks.0.attn.relative_position_index": torch.zeros(49, 49, dtype=torch.long)}
    return by_rules(renamed, {r"head\.fc": "head"}) | buffers | {"layers.0.blocks.0.attn_mask": torch.ones(4, 49, 49)}


def clip(state):
    rules = {
        r"patch_embed\.proj": "conv1",
        "pos_embed": "positional_embedding",
        "cls_token": "class_embedding",
        "norm_pre": "ln_pre",
        r"^norm\.": "ln_post.",
        r"\.norm(\d)\.": r".ln_\1.",
        r"mlp\.fc1": "mlp.c_fc",
        r"mlp\.fc2": "mlp.c_proj",
        r"attn\.qkv\.": "attn.in_proj_",
        r"attn\.proj": "attn.out_proj",
        "blocks": "transformer.resblocks",
    }
    image = {"visual." + name: tensor for name, tensor in by_rules(state, rules).items() if not name.startswith("head")}
    flat = {"visual.class_embedding": state["cls_token"][0, 0], "visual.positional_embedding": state["pos_embed"][0]}
    return image | flat | {"transformer.resblocks.0.ln_1.weight": torch.ones(4), "logit_scale": torch.ones(())}


def dense(state):
    return by_rules(state, {r"(denselayer\d+\.(?:norm|relu|conv))([12])\.": r"\1.\2."})


SMALL = {"img_size": 32, "depth": 1}
FEW = {"depths": (1, 1, 1, 1)}
# The network, its size, and how its authors' file differs from the network's own state.
RELEASED = {
    "DenseNet, torchvision": (lambda: models.DenseNet(8, (1, 1), 8), dense),
    "DenseNet, torchvision's file in timm": (
        lambda: timm.create_model("densenet121", block_config=(1, 1), growth_rate=8),
        dense,
    ),
    "ViT, torchvision's first names": (
        lambda: models.VisionTransformer(32, 16, 1, 2, 16, 16),
        lambda state: by_rules(state, {r"mlp\.0": "mlp.linear_1", r"mlp\.3": "mlp.linear_2"}),
    ),
    "MNASNet, without the version": (lambda: models.MNASNet(0.2), dict),
    "DINOv2": (
        lambda: timm.create_model("vit_small_patch14_dinov2", img_size=28, depth=1),
        lambda state: state | {"mask_token": EYE},
    ),
    "DINOv2 with registers": (
        lambda: timm.create_model("vit_small_patch14_reg4_dinov2", img_size=28, depth=1),
        dinov2_with_registers,
    ),
    "DINOv2 with registers, of the training": (
        lambda: timm.create_model("vit_small_patch14_reg4_dinov2", img_size=28, depth=1),
        lambda state: {
            "teacher": {f"backbone.{name}": tensor for name, tensor in dinov2_with_registers(state).items()}
            | {"dino_head.last_layer.weight": EYE}
        },
    ),
    "DINOv3": (lambda: timm.create_model("vit_small_patch16_dinov3_qkvb", **SMALL), dinov3),
    "ConvNeXt, Facebook": (lambda: timm.create_model("convnext_atto", **FEW), lambda state: {"model": convnext(state)}),
    "Swin, Microsoft": (
        lambda: timm.create_model("swin_tiny_patch4_window7_224", embed_dim=24, **FEW),
        lambda state: {"model": swin(state)},
    ),
    "DeiT III": (
        lambda: timm.create_model("deit3_small_patch16_224", **SMALL),
        lambda state: {"model": by_rules(state, {r"ls(\d)\.gamma": r"gamma_\1"})},
    ),
    "CaiT": (
        lambda: timm.create_model("cait_xxs24_224", **SMALL),
        lambda state: {"model": {f"module.{name}": tensor for name, tensor in state.items()}},
    ),
    "MAE": (
        lambda: timm.create_model("test_vit"),
        lambda state: {"model": state | {"mask_token": EYE, "decoder_pos_embed": EYE}},
    ),
    "EVA-02": (
        lambda: timm.create_model("eva02_tiny_patch14_224", img_size=28, depth=1),
        lambda state: {"module": state},
    ),
    "CLIP, OpenAI's names": (
        lambda: timm.create_model("vit_base_patch32_clip_224", embed_dim=64, num_heads=2, depth=1),
        clip,
    ),
    "SigLIP, open_clip's file": (
        lambda: timm.create_model("vit_base_patch16_siglip_224", embed_dim=64, num_heads=2, **SMALL),
        lambda state: {f"visual.trunk.{name}": tensor for name, tensor in state.items()} | {"text.x": EYE},
    ),
    "axes of length one": (
        lambda: timm.create_model("test_vit"),
        lambda state: state | {name: state[name][0] for name in ("cls_token", "pos_embed")},
    ),
    "half precision": (
        lambda: timm.create_model("test_resnet"),
        lambda state: {name: t.half() if t.is_floating_point() else t for name, t in state.items()},
    ),
}


def made(build, seed):
    torch.manual_seed(seed)
    return build().eval()


def classifiers(network):
    return ("head",) if hasattr(network, "head") else ()


@pytest.mark.parametrize("family", RELEASED)
def test_a_file_with_its_authors_names_gives_the_tensors_of_the_network(family):
    build, released = RELEASED[family]
    network, source = made(build, 0), made(build, 1).state_dict()
    report = load_tensors(network, released(dict(source)), "x.pth", classifiers(network))
    assert report["missing"] == [] and report["tensors_loaded"] == report["tensors_of_encoder"]
    loaded = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("head")}
    for name, tensor in loaded.items():
        torch.testing.assert_close(tensor, source[name], atol=1e-3 if family == "half precision" else 1e-6, rtol=1e-3)


SIZES = {
    "DINOv2": lambda size: timm.create_model("vit_small_patch14_dinov2", img_size=size // 16 * 14, depth=1),
    "Swin": lambda size: timm.create_model("swin_tiny_patch4_window7_224", img_size=size * 2, embed_dim=24, **FEW),
    "EVA-02": lambda size: timm.create_model("eva02_tiny_patch14_224", img_size=size // 16 * 14, depth=1),
    "ViT, torchvision": lambda size: models.VisionTransformer(size, 16, 1, 2, 16, 16),
}


@pytest.mark.parametrize("family", SIZES)
def test_positions_of_another_size_are_resampled_and_named(family):
    network, source = made(lambda: SIZES[family](32), 0), made(lambda: SIZES[family](64), 1)
    report = load_tensors(network, source.state_dict(), "x.pth")
    assert report["missing"] == [] and all("pos" in name for name in report["computed"])
    assert f"computed from the file's: {report['computed'][0]}" in summary(report)


def vit(**given):
    return made(lambda: timm.create_model("vit_tiny_patch16_224", **(SMALL | given)), 0)


REFUSED = {
    "another patch": (
        lambda: vit(patch_size=8),
        r"'patch_embed\.proj\.weight'.*192 x 3 x 8 x 8 where the network has 192 x 3 x 16 x 16",
    ),
    "one channel": (lambda: vit(in_chans=1), "images have 3 channels and this file is for 1"),
    "registers": (lambda: vit(reg_tokens=4, no_embed_class=True, class_token=True), "reg_token"),
    "layer scale": (
        lambda: vit(init_values=0.1),
        r"'blocks\.0\.ls1\.gamma' has no place in the network; name the variant",
    ),
    "query norms": (lambda: vit(qk_norm=True), r"'blocks\.0\.attn\.[qk]_norm\.weight' has no place"),
    "torchvision's ViT": (
        lambda: models.VisionTransformer(32, 16, 1, 2, 16, 16),
        "its names are those of torchvision's ViT",
    ),
}


@pytest.mark.parametrize("difference", REFUSED)
def test_a_file_of_another_variant_is_refused(difference):
    build, message = REFUSED[difference]
    with pytest.raises(UserError, match=message) as stop:
        load_tensors(vit(), build().state_dict(), "x.pth", ("head",))
    assert "\n" not in str(stop.value)


def test_auxiliary_heads_and_tables_of_the_geometry_may_be_missing():
    google = made(lambda: models.GoogLeNet(init_weights=False), 0)
    swin_v2 = made(lambda: models.SwinTransformer([4, 4], 24, [1, 1], [3, 3], [8, 8], block=SwinTransformerBlockV2), 0)
    tables = ("relative_coords_table", "relative_position_index")
    without = [
        (google, {name: tensor for name, tensor in google.state_dict().items() if not name.startswith("aux")}),
        (swin_v2, {name: tensor for name, tensor in swin_v2.state_dict().items() if not name.endswith(tables)}),
    ]
    for network, state in without:
        assert load_tensors(network, state, "x.pth")["missing"] == []
