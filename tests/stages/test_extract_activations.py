"""The stage says what becomes of a classifier, and refuses a head that does not fit before any work."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json
from falcon_dvc.artifacts.summary import lines
from falcon_dvc.errors import UserError
from stages import extract_activations
from tests.support.extraction import params_of, write_images

VIT = {"kind": "timm", "name": "test_vit", "weights": "random", "size": 64}
RESNET = {"kind": "timm", "name": "test_resnet", "size": 64, "checkpoint": "x.pth", "classes": "imagenet"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(3)
    return tmp_path


def save_resnet(**changes):
    import timm

    state = timm.create_model("test_resnet").state_dict()
    torch.save(state | changes, "x.pth")


def last_line(spec):
    summary = extract_activations.run(params_of(**spec), "mine")
    return next(lines("extract_activations mine", summary))


def test_a_head_with_other_features_is_refused_before_any_work(here):
    save_file({"weight": np.ones((2, 5), np.float32), "bias": np.zeros(2, np.float32)}, here / "probe.safetensors")
    params = params_of(**VIT, head="probe.safetensors", classes=["cat", "dog"])
    with pytest.raises(UserError, match=r"probe\.safetensors: reads 5 features, but encoders\.mine has 64"):
        extract_activations.run(params, "mine")
    assert not (paths.activations("mine") / "features.npy").exists()


@pytest.mark.parametrize(
    ("changes", "spec", "words"),
    [
        ({}, {"layer": "layer3"}, "1000 outputs of the classifier not used: it is not linear in the features of this layer"),
        (
            {"fc.weight": torch.ones(10, 7), "fc.bias": torch.ones(10)},
            {},
            "10 outputs of the classifier not used: the file's fc.weight (10 x 7) does not fit the network",
        ),
    ],
)  # fmt: skip
def test_a_dropped_classifier_is_said_in_the_log_and_in_the_summary(changes, spec, words, capsys):
    save_resnet(**changes)
    assert words in last_line(RESNET | spec) and words in capsys.readouterr().out


def test_a_classifier_that_is_used_or_replaced_is_not_called_dropped(here):
    save_resnet()
    save_file({"w": np.ones((2, 192), np.float32), "b": np.zeros(2, np.float32)}, here / "probe.safetensors")
    assert "not used" not in last_line(RESNET)
    before = read_json(paths.activations("mine") / "encoder.json")["classifier"]
    assert before["outputs"] == 1000 and before["unused"] is None
    spec = RESNET | {"layer": "layer3", "head": "probe.safetensors", "classes": ["cat", "dog"]}
    assert "not used" not in last_line(spec)


def test_another_classifier_alone_makes_another_description():
    """`failures` depends on it: features of a network with a retrained head are the same."""
    digests = []
    for bias in (0.0, 1.0):
        save_resnet(**{"fc.bias": torch.full((1000,), bias)})
        torch.manual_seed(0)
        last_line(RESNET)
        digests.append(read_json(paths.activations("mine") / "encoder.json")["classifier"]["sha256"])
    assert digests[0] != digests[1]


def test_a_device_that_is_absent_stops_the_stage(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    params = params_of(**VIT).model_copy(update={"device": "cuda"})
    with pytest.raises(UserError, match=r"params\.yaml: device: torch finds no GPU"):
        extract_activations.run(params, "mine")


def test_an_encoder_of_one_feature_is_refused_before_any_pass(monkeypatch):
    monkeypatch.setattr(extract_activations, "load_encoder", lambda *_: SimpleNamespace(width=1))
    with pytest.raises(UserError, match=r"encoders\.mine: gives one feature.*encoders\.mine\.layer"):
        extract_activations.run(params_of(**VIT), "mine")
    assert not paths.activations("mine").exists()
