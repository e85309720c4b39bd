"""Controls: encoders with random weights, of the same architecture as those whose explanations they calibrate."""

import pytest
from pydantic import TypeAdapter

from falcon_dvc.params.keys import read_keys
from falcon_dvc.params.load import load_params
from falcon_dvc.params.schema import EncoderSpec, _check_control
from tests.support.changed_params import SHIPPED, changed, problem

CONTROL = {"kind": "scenes", "checkpoint": "models/simclr.safetensors", "weights": "random", "control_of": ["simclr"]}
TIMM = {"kind": "timm", "name": "resnet18", "layer": "layer3", "checkpoint": "net.pth"}


def spec(**entry):
    return TypeAdapter(EncoderSpec).validate_python(entry)


def test_the_shipped_params_tell_controls_from_encoders():
    params, keys = load_params(SHIPPED), read_keys(SHIPPED)
    assert list(params.without_controls) == ["supervised", "simclr"]
    assert keys.controls == set(params.encoders) - set(params.without_controls) != set()


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (CONTROL | {"control_of": ["nosuch"]}, "encoders.mine.control_of names the encoder 'nosuch'; give one or more of simclr, "),
        (CONTROL | {"control_of": ["untrained_1"]}, "encoders.mine.control_of names the encoder 'untrained_1'; give one or more of"),
        (CONTROL | {"control_of": ["mine"]}, "encoders.mine.control_of names the encoder 'mine'; give one or more of"),
        (CONTROL | {"weights": "checkpoint"}, "encoders.mine is a control of 'simclr'; set its weights to random"),
        (TIMM | {"weights": "random", "control_of": ["simclr"]}, "encoders.mine is a control of 'simclr', but differs in "),
    ],
)  # fmt: skip
def test_a_control_that_is_none_is_refused_in_one_line(entry, words, tmp_path):
    assert words in problem(changed(tmp_path / "params.yaml", "encoders.mine", entry))


def test_a_control_may_have_other_weights_heads_and_features():
    control = spec(**TIMM | {"weights": "random", "seed": 3, "checkpoint": "other.pth", "features": [1, 2]})
    _check_control("mine", control, "net", spec(**TIMM, head="head.npz", classes=["cat", "dog"]))


@pytest.mark.parametrize("changes", [{"name": "resnet34"}, {"layer": "layer2"}, {"pooling": "max"}, {"size": 64}])
def test_a_control_of_another_network_is_refused(changes):
    with pytest.raises(ValueError, match=f"differs in {next(iter(changes))}; give both the same values"):
        _check_control("mine", spec(**TIMM | {"weights": "random"} | changes), "net", spec(**TIMM))


def test_a_control_of_open_clip_draws_its_pretrained_weights_again():
    tower = {"kind": "open_clip", "name": "RN50", "pretrained": "openai"}
    _check_control("mine", spec(**tower | {"pretrained": "random"}), "net", spec(**tower))
    with pytest.raises(ValueError, match="set its pretrained to random"):
        _check_control("mine", spec(**tower), "net", spec(**tower))


def test_a_control_has_the_basis_of_its_encoder_or_random_directions():
    own = {"fit": "pca", "components": 3}
    explained = spec(**TIMM, basis=own)
    for changes in (
        {"weights": "random", "basis": own},
        {"weights": "random", "basis": {"random": 9}},
        {"basis": {"random": 9}},
    ):
        _check_control("mine", spec(**TIMM | changes), "net", explained)
    for words, changes in {
        "give it the same basis, or basis": {"weights": "random"},
        "set its weights to random": {"basis": own},
    }.items():
        with pytest.raises(ValueError, match=words):
            _check_control("mine", spec(**TIMM | changes), "net", explained)
