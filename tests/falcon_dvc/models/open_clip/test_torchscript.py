"""Tensors of a TorchScript archive are read as they are, and its code is not run."""

import pickle
import zipfile

import pytest
import torch
from torch import nn

from falcon_dvc.models.open_clip.torchscript import is_torchscript, read_torchscript


class Nested(nn.Module):
    """Modules in modules, half precision, a number as a buffer, and values that are no tensors."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).half()
        self.register_buffer("input_resolution", torch.tensor(224))
        self.shape, self.rate, self.words = [1, 2], 0.5, {"a": 1}

    def forward(self, x):
        return self.inner(x)


@pytest.fixture
def archive(tmp_path):
    torch.jit.script(Nested()).save(tmp_path / "nested.pt")
    return tmp_path / "nested.pt"


def test_tensors_are_those_of_its_state(archive):
    assert is_torchscript(archive)
    found, expected = read_torchscript(archive), torch.jit.load(archive).state_dict()
    assert found.keys() == expected.keys()
    assert all(
        found[name].dtype == tensor.dtype and torch.equal(found[name], tensor) for name, tensor in expected.items()
    )


def test_its_code_is_neither_run_nor_compiled(archive, tmp_path):
    broken = tmp_path / "broken.pt"
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(broken, "w") as target:
        for name in source.namelist():
            target.writestr(name, b"raise SystemExit" if "/code/" in name else source.read(name))
    assert read_torchscript(broken).keys() == read_torchscript(archive).keys()


@pytest.mark.parametrize("function", ["builtins eval", "os system", "__torch__ W\n\x93builtins eval"])
def test_an_archive_that_names_other_functions_is_refused(function, archive, tmp_path):
    evil = tmp_path / "evil.pt"
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(evil, "w") as target:
        for name in source.namelist():
            code = f"c{function.replace(' ', chr(10))}\n(X\x01\x00\x00\x001tR.".encode("latin-1")
            target.writestr(name, code if name.endswith("/data.pkl") else source.read(name))
    with pytest.raises(pickle.UnpicklingError):
        read_torchscript(evil)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
def test_other_files_are_no_archives(content, tmp_path):
    (tmp_path / "x.pt").write_bytes(content)
    assert not is_torchscript(tmp_path / "x.pt")


def test_a_file_of_torch_is_no_torchscript(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "x.pt")
    assert not is_torchscript(tmp_path / "x.pt")
