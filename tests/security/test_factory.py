"""Of everything that params and checkpoints hold, one thing runs: the function that `factory` of an encoder of kind python names."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save_file

from falcon_dvc.errors import UserError
from falcon_dvc.models.encoders.load import load_encoder
from falcon_dvc.models.encoders.networks import build_network
from falcon_dvc.models.encoders.released_checkpoints import load_released
from falcon_dvc.params.schema import EncoderSpec, ImageTextSpec
from tests.support.paths import ROOT

PLANTED = "import pathlib\npathlib.Path('pwned').touch()\n"
FACTORY = """
import sys
from torch import nn


def build():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    network.size, network.mean, network.std = 16, (0.5, 0.5, 0.5), (0.3, 0.3, 0.3)
    return network


def leave():
    sys.exit(0)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "of_a_user.py").write_text(FACTORY)
    (tmp_path / "planted.py").write_text(PLANTED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("of_a_user", None)


def spec(**given):
    return TypeAdapter(EncoderSpec).validate_python({"checkpoint": "weights.safetensors", **given})


@pytest.mark.parametrize(
    "factory",
    ["os:abort", "sys:exit", "builtins:input", "builtins:breakpoint", "subprocess:Popen", "antigravity:webbrowser"],
)
def test_functions_of_python_itself_are_refused_and_not_called(factory, here):
    with pytest.raises(UserError, match=r"^encoders\.x: factory .* is of Python's own library; name a function"):
        build_network(spec(kind="python", factory=factory), "encoders.x")


def test_a_factory_that_ends_the_program_is_an_error_and_no_success(here):
    with pytest.raises(UserError, match=r"factory of_a_user:leave failed \(SystemExit"):
        build_network(spec(kind="python", factory="of_a_user:leave"), "encoders.x")


@pytest.mark.parametrize(
    "factory", ["of_a_user:build()", "of_a_user:build.x", "a b:c", ".x:y", "of_a_user:build\n", "x;y:z", "/tmp/x:y"]
)
def test_a_factory_is_a_name_and_no_expression(factory):
    with pytest.raises(ValidationError):
        spec(kind="python", factory=factory)


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "scenes", "factory": "planted:run"},
        {"kind": "timm", "name": "test_vit", "factory": "planted:run"},
        {"kind": "torchvision", "name": "planted:run"},
        {"kind": "timm", "name": "planted:run", "weights": "random"},
        {"kind": "open_clip", "name": "planted", "pretrained": "planted:run"},
    ],
)
def test_no_other_param_names_code(given, here):
    with pytest.raises((ValidationError, UserError)):
        build_network(spec(**given), "encoders.x")
    with pytest.raises(ValidationError):
        TypeAdapter(ImageTextSpec).validate_python(
            {"checkpoint": "c", "kind": "conse", "sentences": None, "factory": "planted:run"}
        )
    assert not (here / "pwned").exists() and "planted" not in sys.modules


def test_what_a_checkpoint_says_of_itself_is_not_run(here):
    config = {"stem": 4, "widths": [8, 12], "heads": {}, "factory": "planted:run", "__class__": "planted"}
    metadata = {"format": json.dumps("falcon-small-resnet"), "config": json.dumps(config), "factory": "planted:run"}
    save_file({"0.weight": torch.zeros(4, 3, 3, 3), "0.bias": torch.zeros(4)}, here / "weights.safetensors", metadata)
    with pytest.raises(UserError, match=r"configuration does not describe a model|not a readable"):
        load_encoder(SimpleNamespace(kind="scenes", weights="checkpoint", checkpoint="weights.safetensors"))
    network = build_network(spec(kind="python", factory="of_a_user:build", weights="checkpoint"), "encoders.x")
    assert network.loaded and not (here / "pwned").exists() and "planted" not in sys.modules


def test_a_pickle_beside_the_factory_is_refused(here):
    (here / "weights.pt").write_bytes(b"cposix\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(UserError):
        load_released(torch.nn.Linear(1, 1), "weights.pt", (), None)
    assert not (here / "pwned").exists()


def test_a_file_of_the_working_folder_does_not_pass_for_an_installed_package(tmp_path):
    """It is looked at last, and so for what no installed package has: the user's own networks."""
    for name in ("typer", "pydantic", "pyarrow", "json", "rich", "numpy"):
        (tmp_path / f"{name}.py").write_text(PLANTED)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "stages", "claims"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.startswith("error: params.yaml") and not (tmp_path / "pwned").exists()
