"""The device of networks, and the precision that it computes in."""

import sys

import pytest
import torch

from falcon_dvc.compute import device
from falcon_dvc.compute.device import all_devices, best_device, computing_in
from falcon_dvc.errors import UserError


def test_float32_is_left_as_it_is():
    with computing_in("float32", "cpu"):
        assert not torch.is_autocast_enabled("cpu")


@pytest.fixture
def machine(monkeypatch):
    """Pretend that the machine has so many CUDA GPUs, and a GPU of Apple or none."""

    def has(cuda=0, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        device._say.cache_clear()

    yield has
    device._say.cache_clear()


@pytest.mark.parametrize(
    ("has", "asked", "best", "everything"),
    [
        ({}, "auto", "cpu", ["cpu"]),
        ({"cuda": 2}, "auto", "cuda", ["cuda:0", "cuda:1"]),
        ({"cuda": 2}, "cuda", "cuda", ["cuda:0", "cuda:1"]),
        ({"cuda": 2}, "cpu", "cpu", ["cpu"]),
        ({"mps": True}, "mps", "mps", ["mps"]),
        ({"mps": True}, "auto", "cpu", ["cpu"]),
    ],
)
def test_the_param_chooses_the_device(has, asked, best, everything, machine):
    machine(**has)
    assert (best_device(asked), all_devices(asked)) == (best, everything)


@pytest.mark.parametrize(("has", "asked"), [({"mps": True}, "cuda"), ({"cuda": 1}, "mps")])
@pytest.mark.parametrize("choose", [best_device, all_devices])
def test_a_device_that_is_absent_is_one_line(choose, has, asked, machine):
    machine(**has)
    with pytest.raises(
        UserError, match=rf"^params\.yaml: device: torch finds no GPU .* for {asked}; set device to auto"
    ):
        choose(asked)


@pytest.mark.parametrize(
    ("has", "line"),
    [
        ({}, "device: cpu (auto; no GPU found)"),
        ({"cuda": 1}, "device: cuda (auto; 1 GPU)"),
        ({"cuda": 3}, "device: cuda (auto; 3 GPUs)"),
        ({"mps": True}, "device: cpu (auto; `device: mps` uses the GPU of Apple)"),
    ],
)
def test_auto_says_once_what_it_chose(has, line, machine, capsys):
    machine(**has)
    best_device()
    all_devices("auto")
    assert capsys.readouterr().err.splitlines() == [line]


def test_what_was_asked_for_is_not_said(machine, capsys):
    machine(cuda=1)
    best_device("cuda")
    best_device("cpu")
    assert capsys.readouterr().err == ""


def test_the_cpu_needs_no_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert best_device("cpu") == "cpu"
