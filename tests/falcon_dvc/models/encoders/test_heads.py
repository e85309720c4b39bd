"""A linear classifier in a file of its own: what is read, and what is refused in one line that names the file."""

import io
import zipfile

import numpy as np
import pytest
import torch
from safetensors.numpy import save, save_file

from falcon_dvc.models.encoders.classifiers import linear_classifier
from falcon_dvc.models.encoders.heads import read_head
from falcon_dvc.params.schema import EfficientNetLite, ScenesEncoder
from tests.support.outcomes import Refused, Row, assert_refused, each
from tests.support.pickles import Explodes

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)
BIAS = np.array([1, -1], dtype=np.float32)


@pytest.mark.parametrize("names", [("weight", "bias"), ("fc.weight", "fc.bias"), ("coef", "intercept")])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_weight_and_bias_have_any_names(names, suffix, tmp_path):
    path, arrays = tmp_path / f"probe{suffix}", dict(zip(names, (WEIGHT, BIAS), strict=True))
    np.savez(path, **arrays) if suffix == ".npz" else save_file(arrays, path)
    weight, bias = read_head(path, features=3, classes=2)
    assert (weight.dtype, bias.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(weight, WEIGHT)
    np.testing.assert_array_equal(bias, BIAS)


PROBES = {
    "a linear probe of DINO": {
        "epoch": 100,
        "state_dict": {"module.linear.weight": torch.from_numpy(WEIGHT), "module.linear.bias": torch.from_numpy(BIAS)},
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2, 3)}}},
        "best_acc": np.float64(77.0),
    },
    "a linear head of DINOv2": {"weight": torch.from_numpy(WEIGHT).half(), "bias": torch.from_numpy(BIAS).half()},
}


@pytest.mark.parametrize("name", PROBES)
def test_a_linear_probe_in_a_file_of_torch_is_read(name, tmp_path):
    torch.save(PROBES[name], tmp_path / "probe.pth")
    weight, bias = read_head(tmp_path / "probe.pth", features=3, classes=2)
    np.testing.assert_array_equal(weight, WEIGHT)
    np.testing.assert_array_equal(bias, BIAS)


@pytest.mark.parametrize(("model", "given"), [(ScenesEncoder, {"checkpoint": "x"}), (EfficientNetLite, {"variant": 0})])
def test_a_head_is_the_classifier_of_any_encoder(model, given, tmp_path):
    np.savez(tmp_path / "probe.npz", weight=WEIGHT, bias=BIAS)
    kind = "scenes" if model is ScenesEncoder else "efficientnet_lite"
    spec = model(kind=kind, head=str(tmp_path / "probe.npz"), classes=["cat", "dog"], **given)
    found = linear_classifier(spec)
    assert found.names == found.ids == ("cat", "dog")
    np.testing.assert_array_equal(found.weights, WEIGHT)


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def torch_file(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def archive_of_text():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("weight.npy", b"no array")
    return file.getvalue()


ROWS = [
    Row("no file", ("x.npz", None), Refused(r"^encoders\.net\.head: x\.npz: not found; give the path")),
    Row("another suffix", ("x.pkl", b""), Refused(r"x\.pkl: a head is a \.safetensors, \.npz or torch file")),
    Row("an empty file of torch", ("x.pt", b""), Refused(r"x\.pt: is empty; download it again")),
    Row("a network of torch", ("x.pth", torch_file({name: torch.ones(2) for name in "abc"})), Refused(r"holds 3 arrays .*alone")),
    Row("code", ("x.pth", torch_file({"state_dict": {"w": torch.ones(2, 3)}, "x": Explodes()})), Refused("could run code")),
    Row("zero bytes", ("x.npz", b""), Refused(r"x\.npz: not a readable file of arrays")),
    Row("text", ("x.safetensors", b"weight"), Refused(r"x\.safetensors: not a readable file of arrays")),
    Row("no array inside", ("x.npz", archive_of_text()), Refused(r"x\.npz: (not a readable file|holds)")),
    Row("a pickle inside", ("x.npz", npz(weight=np.array([Explodes()], dtype=object))), Refused("not a readable file of arrays")),
    Row("an array only", ("x.npz", npz(weight=WEIGHT)), Refused(r"holds 1 arrays \(weight 2 x 3\); save a matrix weight")),
    Row("a whole network", ("x.npz", npz(a=WEIGHT, b=WEIGHT, c=BIAS)), Refused(r"holds 3 arrays .*; save a matrix weight .* alone")),
    Row("transposed", ("x.npz", npz(weight=WEIGHT.T, bias=BIAS)), Refused(r"weight 3 x 2 and bias 2 do not fit.*transpose the weight")),
    Row("of two trainings", ("x.npz", npz(weight=WEIGHT, bias=np.ones(7))), Refused(r"weight 2 x 3 and bias 7 do not fit")),
    Row("NaN", ("x.npz", npz(weight=WEIGHT * np.nan, bias=BIAS)), Refused(r"x\.npz: holds values that are NaN or infinite")),
    Row("infinite", ("x.safetensors", save({"w": WEIGHT, "b": BIAS * np.float32(np.inf)})), Refused("are NaN or infinite")),
    Row("complex", ("x.npz", npz(weight=WEIGHT * 1j, bias=BIAS)), Refused("weight holds 6 numbers of type complex")),
    Row("empty", ("x.npz", npz(weight=WEIGHT[:0], bias=BIAS[:0])), Refused("holds 0 numbers")),
    Row("other features", ("x.npz", npz(weight=WEIGHT[:, :2], bias=BIAS)), Refused(r"reads 2 features, but encoders\.net has 3; set")),
    Row("other classes", ("x.npz", npz(weight=WEIGHT[:1], bias=BIAS[:1])), Refused(r"has 1 outputs, but encoders\.net\.classes names 2")),
]  # fmt: skip


@each(ROWS)
def test_what_is_no_head_is_refused(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, content = row.make
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert_refused(row.expected.words, lambda: read_head(name, 3, 2, "encoders.net"))
