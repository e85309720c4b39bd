"""Released checkpoints: whatever they are wrapped in, the encoder gets its own tensors, and nothing is ever unpickled."""

import argparse

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from falcon_dvc.errors import UserError
from falcon_dvc.models.encoders.released_checkpoints import load_released, match, summary


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, bias=False), nn.BatchNorm2d(outputs)


class SmallResNet(nn.Module):
    """The names of a ResNet, without its size."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()
        self.layer1, self.layer2 = nn.Sequential(Block(4, 4), Block(4, 4)), nn.Sequential(Block(4, 6))
        self.fc = nn.Linear(6, 5)


def network(seed=0):
    torch.manual_seed(seed)
    return SmallResNet()


def tensors(seed=1, prefix="", without=("fc.",)):
    """The tensors of another network, under other names."""
    state = network(seed).state_dict()
    return {prefix + name: tensor for name, tensor in state.items() if not name.startswith(tuple(without))}


def numbered(prefix):
    """As in an nn.Sequential of the children, without the classifier."""
    place = {name: str(index) for index, (name, _) in enumerate(network().named_children())}
    parts = [(name.partition("."), tensor) for name, tensor in tensors().items()]
    return {f"{prefix}{place[first]}.{rest}": tensor for (first, _, rest), tensor in parts}


HEAD = {"0.weight": torch.ones(6, 6), "0.bias": torch.ones(6), "2.weight": torch.ones(3, 6)}


def head(prefix):
    return {prefix + name: tensor for name, tensor in HEAD.items()}


RELEASED = {
    "moco_v1_v2": (
        {
            "epoch": 200,
            "arch": "resnet50",
            "state_dict": tensors(1, "module.encoder_q.")
            | head("module.encoder_q.fc.")
            | tensors(2, "module.encoder_k.")
            | {"module.queue": torch.ones(3, 7)},
            "optimizer": {"state": {0: {"momentum_buffer": torch.ones(4, 3, 3, 3)}}, "param_groups": [{"lr": 0.1}]},
        },
        ("state_dict", "module.encoder_q."),
    ),
    "moco_v3": (
        {"state_dict": tensors(2, "module.momentum_encoder.") | tensors(1, "module.base_encoder.")},
        ("state_dict", "module.base_encoder."),
    ),
    "simclr_backbone": ({"state_dict": tensors(1, "backbone.") | head("projector.")}, ("state_dict", "backbone.")),
    "simclr_encoder": (tensors(1, "encoder.") | head("projector."), ("", "encoder.")),
    "simclr_convnet": (tensors(1, "convnet.") | head("projection_head."), ("", "convnet.")),
    "simclr_in_a_sequential": (
        {"state_dict": numbered("backbone.") | head("projection_head.layers.")},
        ("state_dict", "backbone."),
    ),
    "swav": (
        tensors(1, "module.") | head("module.projection_head.") | {"module.prototypes.weight": torch.ones(9, 3)},
        ("", "module."),
    ),
    "dino_student_first": (
        {
            "student": tensors(2, "module.backbone.") | head("module.head.mlp."),
            "teacher": tensors(1, "backbone.") | head("head.mlp."),
            "args": argparse.Namespace(arch="resnet50", lr=0.1),
        },
        ("teacher", "backbone."),
    ),
    "dino_bare": (tensors(1), ("", "")),
    "byol_online_encoder": (
        tensors(1, "online_encoder.net.") | tensors(2, "target_encoder.net.") | head("online_predictor.net."),
        ("", "online_encoder.net."),
    ),
    "byol_online_network": (
        {
            "online_network_state_dict": tensors(1, "encoder."),
            "target_network_state_dict": tensors(2, "encoder."),
        },
        ("online_network_state_dict", "encoder."),
    ),
    "barlow_twins": (
        {"epoch": 3, "model": tensors(1, "module.backbone.") | head("module.projector.")},
        ("model", "module.backbone."),
    ),
    "vicreg": ({"model": tensors(1, "module.backbone.") | head("module.projector.")}, ("model", "module.backbone.")),
    "vissl": (
        {
            "phase_idx": 3,
            "classy_state_dict": {
                "base_model": {
                    "model": {"trunk": tensors(1, "_feature_blocks."), "heads": head("0.clf.")},
                    "meters": {},
                }
            },
        },
        ("classy_state_dict.base_model.model.trunk", "_feature_blocks."),
    ),
    "deeper_than_vissl": (
        {"a": {"b": {"c": {"d": {"e": {"f": {"g": tensors(1, "net.")}}}}}}},
        ("a.b.c.d.e.f.g", "net."),
    ),
    "ema_of_timm": (
        {"state_dict": tensors(2, without=()), "state_dict_ema": tensors(1, without=())},
        ("state_dict_ema", ""),
    ),
    "ema_of_torchvision": (
        {
            "model": tensors(2, without=()),
            "model_ema": tensors(1, "module.", without=()) | {"n_averaged": torch.tensor(3)},
        },
        ("model_ema", "module."),
    ),
    "ema_first": ({"ema": {"module": tensors(1)}, "model": tensors(2)}, ("ema.module", "")),
    "ema_in_one_table": (
        {"state_dict": tensors(2, "model.") | tensors(1, "ema_model.module.")},
        ("state_dict", "ema_model.module."),
    ),
    "ema_of_parameters_only": (
        {
            "model": tensors(1),
            "ema": {"model": {key: value for key, value in tensors(2).items() if "running" not in key}},
        },
        ("model", ""),
    ),
    "ema_exchanged_by_mmengine": (
        {"state_dict": tensors(1, "backbone."), "ema_state_dict": tensors(2, "module.backbone."), "message_hub": {}},
        ("state_dict", "backbone."),
    ),
    "average_of_lightning": (
        {"current_model_state": tensors(2, "model."), "state_dict": tensors(1, "model.")},
        ("state_dict", "model."),
    ),
    "teacher_of_data2vec": ({"model": {"_ema": tensors(2), **tensors(1)}}, ("model", "")),
    "ijepa": (
        {"encoder": tensors(2, "module."), "predictor": head("module."), "target_encoder": tensors(1, "module.")},
        ("target_encoder", "module."),
    ),
    "ibot": (
        {"student": tensors(2, "module.backbone."), "teacher": tensors(1, "backbone."), "args": None},
        ("teacher", "backbone."),
    ),
    "dinov2_teacher": (
        {"teacher": tensors(1, "backbone.") | head("dino_head.mlp.") | head("ibot_head.mlp.")},
        ("teacher", "backbone."),
    ),
    "solo_learn": (
        {"state_dict": tensors(2, "momentum_backbone.") | tensors(1, "backbone.") | head("projector.")},
        ("state_dict", "backbone."),
    ),
    "lightly_momentum": (
        {"state_dict": tensors(2, "backbone_momentum.") | tensors(1, "backbone.")},
        ("state_dict", "backbone."),
    ),
    "mmselfsup_moco": (
        {"state_dict": tensors(2, "encoder_k.0.") | tensors(1, "encoder_q.0."), "meta": {"epoch": 3}},
        ("state_dict", "encoder_q.0."),
    ),
    "mmselfsup_byol": (
        {"state_dict": tensors(2, "target_net.module.0.") | tensors(1, "online_net.0.")},
        ("state_dict", "online_net.0."),
    ),
    "lightning_net": ({"state_dict": tensors(1, "net.") | head("criterion.")}, ("state_dict", "net.")),
    "lightning_encoder": ({"state_dict": tensors(1, "model.encoder.")}, ("state_dict", "model.encoder.")),
    "compiled": (tensors(1, "_orig_mod."), ("", "_orig_mod.")),
    "compiled_in_ddp": ({"model": tensors(1, "module._orig_mod.")}, ("model", "module._orig_mod.")),
    "ddp_in_compiled": ({"model": tensors(1, "_orig_mod.module.")}, ("model", "_orig_mod.module.")),
    "wrapped_inside": (
        {
            key.replace("layer1.", "layer1._fsdp_wrapped_module._checkpoint_wrapped_module."): value
            for key, value in tensors(1, "_fsdp_wrapped_module.").items()
        },
        ("", ""),
    ),
    "compiled_blocks": (
        {key.replace("layer2.0.", "layer2.0._orig_mod."): value for key, value in tensors(1).items()},
        ("", ""),
    ),
    "supervised_model": ({"model": tensors(1, without=())}, ("model", "")),
    "supervised_state_dict": ({"state_dict": tensors(1, "module.", without=())}, ("state_dict", "module.")),
}


@pytest.mark.parametrize("name", RELEASED)
def test_released_formats_load_as_they_are(name, tmp_path):
    content, (nesting, prefix) = RELEASED[name]
    torch.save(content, tmp_path / "released.pth.tar")
    module = network()
    report = load_released(module, tmp_path / "released.pth.tar", ["fc"])
    assert (report["nesting"], report["prefix"]) == (nesting, prefix)
    assert report["tensors_loaded"] == report["tensors_of_encoder"] == 4 * 5
    expected = network(1).state_dict()
    taken = {key: tensor for key, tensor in module.state_dict().items() if not key.startswith("fc.")}
    assert all(torch.equal(tensor, expected[key]) for key, tensor in taken.items())
    own_head = name in ("supervised_model", "supervised_state_dict", "ema_of_timm", "ema_of_torchvision")
    assert torch.equal(module.fc.weight, (network(1) if own_head else network()).fc.weight)
    assert name.split("_")[0] not in ("moco", "swav", "barlow") or report["left"]
    assert summary(report).startswith(str(tmp_path / "released.pth.tar")) and "\n" not in summary(report)


def test_what_is_taken_and_left_is_all_of_the_table(tmp_path):
    content, _ = RELEASED["swav"]
    torch.save(content, tmp_path / "swav.pth")
    report = load_released(network(), tmp_path / "swav.pth", ["fc"])
    assert sorted(report["taken"] + report["left"]) == sorted(content)
    assert set(report["left"]) == {"module.prototypes.weight", *head("module.projection_head.")}
    assert "projection_head" in summary(report)


def test_a_safetensors_file_loads(tmp_path):
    save_file(tensors(1, "backbone."), tmp_path / "x.safetensors")
    module = network()
    load_released(module, tmp_path / "x.safetensors", ["fc"])
    assert torch.equal(module.conv1.weight, network(1).conv1.weight)


@pytest.mark.parametrize(("part", "seed"), [("momentum_encoder", 2), ("base_encoder", 1)])
def test_a_part_can_be_chosen(part, seed, tmp_path):
    torch.save(RELEASED["moco_v3"][0], tmp_path / "moco.pth")
    module = network()
    load_released(module, tmp_path / "moco.pth", ["fc"], part)
    assert torch.equal(module.conv1.weight, network(seed).conv1.weight)


@pytest.mark.parametrize(("part", "seed"), [("state_dict", 2), ("state_dict_ema", 1), ("dict_ema", 1), (None, 1)])
def test_a_part_is_chosen_by_whole_words_first(part, seed, tmp_path):
    torch.save(RELEASED["ema_of_timm"][0], tmp_path / "best.pth.tar")
    module = network()
    report = load_released(module, tmp_path / "best.pth.tar", ["fc"], part)
    assert torch.equal(module.conv1.weight, network(seed).conv1.weight)
    others = ["state_dict"] if part is None else []
    assert report["others"] == others and ("'state_dict' would fit too, part selects one" in summary(report)) == bool(
        others
    )


def test_a_file_of_many_references_to_itself_is_read_once(tmp_path):
    content = {"model": tensors()}
    content |= {f"self{number}": content for number in range(100)}
    torch.save(content, tmp_path / "x.pth")
    assert load_released(network(), tmp_path / "x.pth", ["fc"])["nesting"] == "model"


def test_an_unknown_part_is_named(tmp_path):
    torch.save(RELEASED["moco_v3"][0], tmp_path / "moco.pth")
    with pytest.raises(UserError, match=r"moco\.pth: holds 0 of .* part 'teacher'"):
        load_released(network(), tmp_path / "moco.pth", ["fc"], "teacher")


def test_counters_of_batches_are_not_asked_for(tmp_path):
    old = {key: tensor for key, tensor in tensors().items() if "num_batches_tracked" not in key}
    torch.save(old, tmp_path / "old.pth")
    report = load_released(network(), tmp_path / "old.pth", ["fc"])
    assert report["missing"] == [] and report["tensors_loaded"] == 20


def test_too_few_tensors_stop(tmp_path):
    torch.save(tensors(without=("fc.", "layer1.0.bn1")), tmp_path / "cut.pth")
    with pytest.raises(UserError, match=r"cut\.pth: holds 16 of the encoder's 20 tensors.*layer1\.0\.bn1\.weight"):
        load_released(network(), tmp_path / "cut.pth", ["fc"])


def test_one_tensor_of_twenty_may_be_missing_and_is_reported(tmp_path):
    torch.save(tensors(without=("fc.", "layer2.0.bn1.bias")), tmp_path / "cut.pth")
    report = load_released(network(), tmp_path / "cut.pth", ["fc"])
    assert report["missing"] == ["layer2.0.bn1.bias"]
    assert "layer2.0.bn1.bias" in summary(report)


def test_another_shape_stops_though_one_tensor_may_be_missing(tmp_path):
    torch.save(tensors() | {"layer2.0.bn1.bias": torch.zeros(9)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth: 'layer2\.0\.bn1\.bias' has another shape"):
        load_released(network(), tmp_path / "other.pth", ["fc"])


@pytest.mark.parametrize("bias", [True, False])
def test_a_fine_tuned_classifier_keeps_its_own_number_of_outputs(bias, tmp_path):
    weight = torch.arange(12.0).reshape(2, 6)
    tuned = tensors() | {"fc.weight": weight} | ({"fc.bias": torch.tensor([0.5, -0.5])} if bias else {})
    save_file(tuned, tmp_path / "catdog.safetensors")
    module = network()
    report = load_released(module, tmp_path / "catdog.safetensors", ("fc",))
    assert report["classifier_loaded"] and module.fc.out_features == 2 and (module.fc.bias is not None) == bias
    assert torch.equal(module.fc.weight, weight) and "not in the file" not in summary(report)


def test_a_classifier_of_other_features_is_left_out_and_said(tmp_path):
    save_file(tensors() | {"fc.weight": torch.ones(2, 7), "fc.bias": torch.ones(2)}, tmp_path / "other.safetensors")
    module = network()
    report = load_released(module, tmp_path / "other.safetensors", ("fc",))
    assert not report["classifier_loaded"] and module.fc.out_features == 5
    assert "the classifier (fc) does not fit the network: only features are used" in summary(report)
    assert report["classifier_misfits"] == {"fc.weight": [2, 7], "fc.bias": [2]}


def test_a_file_of_something_else_is_named(tmp_path):
    torch.save({"model": {"weight": torch.ones(3)}}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x\.pth: holds 0 of the encoder's 20 tensors"):
        load_released(network(), tmp_path / "x.pth", ["fc"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value, tmp_path):
    torch.save(tensors() | {"conv1.weight": torch.full((4, 3, 3, 3), value)}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x\.pth: holds values that are not finite"):
        load_released(network(), tmp_path / "x.pth", ["fc"])


NAMES = st.lists(st.sampled_from(["a", "b", "c.weight", "c.bias", "d.0.weight", "d.1.weight"]), min_size=1, unique=True)
PREFIXES = st.sampled_from(["", "module.", "x.y.", "module.encoder."])


@given(NAMES, PREFIXES, st.sampled_from(["", "state_dict", "model"]), st.integers(1, 3))
def test_any_nesting_and_prefix_is_found(names, prefix, nesting, size):
    table = {prefix + name: torch.full((size, index + 1), 1.0) for index, name in enumerate(names)}
    content = {nesting: table, "epoch": 3} if nesting else table
    wanted = {name: (size, index + 1) for index, name in enumerate(names)}
    found = match(content, wanted)
    assert (found.nesting, found.prefix) == (nesting, prefix)
    assert {name: tuple(tensor.shape) for name, tensor in found.tensors.items()} == wanted
    assert found.left == found.missing == [] and not found.misfits


@given(st.integers(1, 5), st.integers(1, 5))
def test_the_prefix_with_more_tensors_wins(first, second):
    wanted = {f"t{index}": (index + 1,) for index in range(5)}
    make = lambda prefix, count: {f"{prefix}t{index}": torch.ones(index + 1) for index in range(count)}  # noqa: E731
    found = match(make("p.", first) | make("q.", second), wanted)
    assert found.prefix == ("p." if first >= second else "q.")
    assert len(found.tensors) == max(first, second)


@pytest.mark.parametrize("content", [None, 3, [], {}, {"state_dict": [1]}, {1: {2: torch.ones(2)}}])
def test_content_without_tensors_matches_nothing(content):
    assert match(content, {"a": (1,)}).missing == ["a"]
