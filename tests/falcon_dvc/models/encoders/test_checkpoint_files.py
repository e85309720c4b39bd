"""Files of weights as they are found: tensors are read whatever lies beside them, no code runs, and other files are named."""

import argparse
import bz2
import collections
import enum
import functools
import gzip
import io
import json
import lzma
import pathlib
import pickle
import re
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save, save_file
from torch import nn

from falcon_dvc.errors import UserError
from falcon_dvc.models.encoders.checkpoint_files import pickled_networks, read_checkpoint
from falcon_dvc.models.encoders.released_checkpoints import load_released
from tests.support.outcomes import assert_refused
from tests.support.own_networks import small

STATE = {name: tensor.clone() for name, tensor in small().state_dict().items()}


class Settings(dict):
    """As Lightning's AttributeDict."""


class Phase(enum.Enum):
    TRAIN = 1


class Harmful:
    """Unpickling it calls a function."""

    def __init__(self, function, *arguments):
        self.made = function, arguments

    def __reduce__(self):
        return self.made


class SetsState:
    """Unpickling it runs code of its own class."""

    def __setstate__(self, state):
        pathlib.Path("harmed").touch()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sets_state():
    made = SetsState()
    made.values = [1]
    return made


BESIDE = {
    "the command line (DINO, MAE, MoCo v3)": argparse.Namespace(arch="vit", out=pathlib.PosixPath("runs"), lr=0.1),
    "numbers of NumPy (timm's metric)": {"metric": np.float64(80.5), "epoch": np.int64(3), "losses": np.arange(4.0)},
    "a state of NumPy's generator": np.random.RandomState(0),
    "a configuration of OmegaConf (DINOv2, fairseq)": OmegaConf.create({"model": {"layers": [1, 2]}, "name": "x"}),
    "settings (Lightning)": Settings(lr=0.1),
    "a dictionary with a default": collections.defaultdict(list, {"a": [1]}),
    "a list of bounded length": collections.deque([1, 2], maxlen=3),
    "a member of an enumeration": Phase.TRAIN,
    "a class": Settings,
    "an optimiser": torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1),
    "a function of torch": functools.partial(nn.functional.gelu, approximate="tanh"),
    "a type of torch": [torch.float16, torch.device("cpu"), torch.Size([2])],
    "an object whose class acts": sets_state(),
    "constants": [..., NotImplemented, range(3), slice(2), 2**70],
}


@pytest.mark.parametrize("new", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("name", BESIDE)
def test_tensors_are_read_whatever_lies_beside_them(name, new, folder):
    torch.save({"more": BESIDE[name], "state_dict": STATE}, "x.pth", _use_new_zipfile_serialization=new)
    content = read_checkpoint("x.pth")
    assert all(torch.equal(content["state_dict"][key], tensor) for key, tensor in STATE.items())
    assert not (folder / "harmed").exists()


ACTS = {
    "exec": (exec, "import pathlib; pathlib.Path('harmed').touch()"),
    "eval": (eval, "open('harmed', 'w')"),
    "open": (open, "harmed", "w"),
    "a program": (__import__("subprocess").getoutput, "touch harmed"),
    "an import": (__import__("importlib").import_module, "antigravity"),
    "a method of a path": (pathlib.Path.touch, pathlib.Path("harmed")),
}


@pytest.mark.parametrize("new", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("name", ACTS)
def test_code_in_a_file_is_never_run(name, new, folder):
    torch.save({"state_dict": STATE, "x": Harmful(*ACTS[name])}, "harmful.pth", _use_new_zipfile_serialization=new)
    assert_refused(r"harmful\.pth: not a file of tensors only .*could run code", lambda: read_checkpoint("harmful.pth"))
    assert not (folder / "harmed").exists()


def archive(**files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return file.getvalue()


def torch_file(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        made.addfile(tarfile.TarInfo("model.pth"), io.BytesIO())
    return file.getvalue()


def script():
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(3, 2)), file)
    return file.getvalue()


def npz():
    file = io.BytesIO()
    np.savez(file, weight=np.zeros(2))
    return file.getvalue()


WHOLE = torch_file(STATE)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
OTHER = {
    "a pointer of Git LFS": ({"x.pth": LFS}, r"x\.pth: is a pointer of Git LFS, not the file itself; .*`git lfs pull`"),
    "a pointer named .safetensors": ({"x.safetensors": LFS}, "is a pointer of Git LFS"),
    "a pointer of git-annex": ({"x.pth": b"/annex/objects/SHA256E-s1--ab.pth\n"}, "git annex get"),
    "DVC's description": ({"x.pth.dvc": b"outs:\n- md5: ab\n  path: x.pth\n"}, "is DVC's description of a file.*`dvc pull`"),
    "only DVC's description": ({"a.dvc": b"outs:\n"}, r"^encoders\.x\.checkpoint: a: not found, but .* run `dvc pull a\.dvc`"),
    "a page": ({"x.pth": b"\n <!DOCTYPE HTML><html>Sign in"}, "is a web page, not the file itself; download"),
    "a page with a byte order mark": ({"x.pth": b"\xef\xbb\xbf<html>"}, "is a web page"),
    "an answer of a store": ({"x.bin": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'}, "is a web page"),
    "an answer of a server": ({"x.pt": b"Entry not found"}, r"is a text that begins with 'Entry not found'"),
    "JSON": ({"x.safetensors": b'{"error": "Repository not found"}'}, "is a text that begins with"),
    "an empty file": ({"x.pth": b""}, r"x\.pth: is empty; download it again"),
    "half of a file": ({"x.pth": WHOLE[: len(WHOLE) // 2]}, "not a readable file of torch .*; download it again"),
    "half of a safetensors file": ({"x.safetensors": save(STATE)[:-9]}, "not a readable safetensors file .*; download it again"),
    "gzip": ({"x.pth.gz": gzip.compress(WHOLE)}, r"is packed with gzip; unpack it \(gunzip\)"),
    "gzip named as its content": ({"x.pth": gzip.compress(WHOLE)}, "is packed with gzip"),
    "xz": ({"x.pth.xz": lzma.compress(WHOLE)}, "is packed with xz"),
    "bzip2": ({"x.pth.bz2": bz2.compress(WHOLE)}, "is packed with bzip2"),
    "Zstandard": ({"x.pth.zst": b"\x28\xb5\x2f\xfd" + bytes(20)}, "is packed with Zstandard"),
    "a tar archive": ({"x.pth.tar": tar()}, r"is a tar archive; unpack it \(tar -xf\)"),
    "a zip archive around it": ({"x.zip": archive(**{"a/x.pth": WHOLE})}, r"is a zip archive of other files \(a/x\.pth\).*unpack it"),
    "NumPy (big_vision)": ({"x.npz": npz()}, r"is an archive of NumPy \(\.npz; JAX\).*timm\.create"),
    "one array": ({"x.npy": b"\x93NUMPY\x01\0"}, "is an array of NumPy"),
    "Keras": ({"x.h5": b"\x89HDF\r\n\x1a\n"}, "is an HDF5 file"),
    "ONNX": ({"x.onnx": b"\x08\x07\x12\x07pytorch\xff"}, "is an ONNX file"),
    "a pickle of JAX (BYOL of DeepMind)": ({"x.pkl": pickle.dumps({"w": np.zeros(3)})}, r"is a pickle that torch did not write.*_file"),
    "an archive of torch.export": ({"x.pt2": archive(**{"x/archive_format": b"pt2"})}, "torch.export.load"),
    "TorchScript": ({"x.pt": script()}, r"x\.pt: is a TorchScript archive, .*convert it: torch\.save\(.*torch\.jit\.load\('x\.pt'"),
    "a network": ({"x.pt": torch_file(small())}, "holds a whole network.*convert it"),
    "a network of an old file": ({"x.pt": torch_file(small(), _use_new_zipfile_serialization=False)}, "holds a whole network"),
    "a part": ({"model-00001-of-00002.safetensors": save(STATE)}, "is one of several parts of a model; name the folder"),
    "an index": ({"m.safetensors.index.json": b'{"weight_map": {}}'}, "is the index of a model in parts; name its folder"),
    "a folder of several": ({"f/a.pth": WHOLE, "f/b.pth": WHOLE}, r"f: is a folder with several .* \(a\.pth, b\.pth\); name one"),
    "a folder of a distributed run": ({"f/.metadata": b"", "f/__0_0.distcp": b""}, "dcp_to_torch f f.pth"),
    "an unpacked file": ({"f/archive/data.pkl": b"", "f/archive/version": b"3"}, "unpacked from a file of torch"),
    "a folder of something else": ({"f/readme.md": b""}, "f: is a folder without a file of weights"),
    "a folder that lacks a part": ({"f/x.safetensors.index.json": b'{"weight_map": {"a": "b.bin"}}'}, r"f: lacks b\.bin, which"),
    "a folder with another index": ({"f/model.safetensors.index.json": b"[]"}, "not an index of a model in parts"),
    "a folder with a pointer": ({"f/model.safetensors": LFS}, r"f/model\.safetensors: is a pointer of Git LFS"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER)
def test_what_is_no_file_of_tensors_is_named_with_the_fix(name):
    files, words = OTHER[name]
    for name, content in files.items():
        pathlib.Path(name).parent.mkdir(exist_ok=True, parents=True)
        pathlib.Path(name).write_bytes(content)
    named = next(iter(files)).split("/")[0]
    given = named.removesuffix(".dvc") if named == "a.dvc" else named
    assert_refused(words, lambda: read_checkpoint(given, "encoders.x.checkpoint"))


def test_a_link_to_nothing_is_named(folder):
    (folder / "x.pth").symlink_to("gone.pth")
    with pytest.raises(UserError, match=r"x\.pth: is a link to gone\.pth, which does not exist"):
        read_checkpoint("x.pth")


CONVERTED = {
    "a network": lambda: torch.save(small(), "x.pt"),
    "a network among others": lambda: torch.save({"epoch": 3, "model": small(), "ema": None}, "x.pt"),
    "TorchScript": lambda: torch.jit.save(torch.jit.script(small()), "x.pt"),
    "TorchScript of a trace": lambda: torch.jit.save(torch.jit.trace(small(), torch.zeros(1, 3, 16, 16)), "x.pt"),
    "another protocol": lambda: torch.save(STATE, "x.pt", pickle_protocol=4),
}


@pytest.mark.parametrize("name", CONVERTED)
@pytest.mark.filterwarnings("ignore")
def test_the_line_that_converts_a_file_does_so(name):
    torch.manual_seed(1)
    CONVERTED[name]()
    with pytest.raises(UserError, match=r"x\.pt: .*convert it") as stop:
        load_released(small(), "x.pt")
    exec(re.search(r"torch\.save\(.*\)$", str(stop.value))[0])
    assert load_released(small(), "x.tensors.pth")["tensors_loaded"] == 4


def test_networks_beside_tensors_are_left_out():
    torch.save({"model": small(), "state_dict": STATE}, "x.pt")
    module = small()
    assert load_released(module, "x.pt")["nesting"] == "state_dict"
    assert pickled_networks(read_checkpoint("x.pt")) == ["['model']"]


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "net.pth"])
def test_a_folder_with_one_model_is_read(name, folder):
    (folder / "f").mkdir()
    (folder / "f" / "config.json").write_text("{}")
    save_file(STATE, f"f/{name}") if name.endswith("safetensors") else torch.save(STATE, f"f/{name}")
    if name == "model.safetensors":
        torch.save({}, "f/pytorch_model.bin")
    assert set(read_checkpoint("f")) == set(STATE)


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_a_model_in_parts_is_read_by_its_index(suffix, folder):
    (folder / "f").mkdir()
    listed = {key: f"model-0000{1 + number % 2}-of-00002.{suffix}" for number, key in enumerate(STATE)}
    for part in set(listed.values()):
        tensors = {key: tensor for key, tensor in STATE.items() if listed[key] == part}
        save_file(tensors, f"f/{part}") if suffix == "safetensors" else torch.save(tensors, f"f/{part}")
    (folder / "f" / f"model.{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": listed}))
    assert set(read_checkpoint("f")) == set(STATE)


def test_an_index_cannot_name_a_file_outside_its_folder(folder):
    (folder / "f").mkdir()
    save_file(STATE, "secret.safetensors")
    listed = {"weight_map": {"a": "../secret.safetensors"}}
    (folder / "f" / "model.safetensors.index.json").write_text(json.dumps(listed))
    with pytest.raises(UserError, match=r"f: lacks \.\./secret\.safetensors"):
        read_checkpoint("f")
