"""Weights that a package ships are found without running its code; other names are one line."""

import sys

import numpy as np
import pytest
from pydantic import TypeAdapter
from safetensors.torch import save_file

from falcon_dvc.cli.pins import texts
from falcon_dvc.errors import UserError
from falcon_dvc.models.encoders.load import load_encoder
from falcon_dvc.models.encoders.packaged import packaged_file
from falcon_dvc.params.schema import EncoderSpec
from tests.support.stage_params import params_of

TINY = {"kind": "timm", "name": "test_resnet", "weights": "random", "seed": 3}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with weights, whose code must not run."""
    folder = tmp_path / "weights_of_a_test"
    (folder / "inner").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('this code runs')")
    (tmp_path / "secret.pth").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def encoder(**changes):
    return load_encoder(TypeAdapter(EncoderSpec).validate_python(TINY | changes), param="encoders.x")


def test_a_network_gets_the_weights_of_the_package(package):
    trained = encoder()
    save_file(trained._network.module.state_dict(), package / "inner/model.safetensors")
    found = encoder(weights="package:weights_of_a_test/inner/model.safetensors", seed=0)
    picture = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    assert np.array_equal(found.activations([picture])[0], trained.activations([picture])[0])
    assert found.description["checkpoint"]["tensors_loaded"] == found.description["checkpoint"]["tensors_of_encoder"]
    assert "weights_of_a_test" not in sys.modules


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("package:weights_of_a_test/none.pth", "the package weights_of_a_test has no file none.pth"),
        ("package:not_installed_here/model.pth", "the package not_installed_here is not installed"),
        ("package:weights_of_a_test/../secret.pth", "names no file of a package; write package:NAME/FILE"),
        ("package:weights_of_a_test", "names no file of a package"),
        ("package:/etc/passwd", "names no file of a package"),
        ("package:os.path/x", "names no file of a package"),
    ],
)
def test_other_names_are_one_line(name, message, package):
    with pytest.raises(UserError, match=f"^e.weights: .*{message}"):
        packaged_file(name, "e")


def test_dvc_watches_the_file(package, tmp_path):
    (package / "model.pth").write_bytes(b"one")
    entry = TINY | {"weights": "package:weights_of_a_test/model.pth"}
    params = params_of({"encoders": {"own": entry}})
    first = texts(params, tmp_path)["encoders.own"]
    (package / "model.pth").write_bytes(b"two")
    assert "sha256" in first and texts(params, tmp_path)["encoders.own"] != first
