"""The executor that params.yaml asks for."""

import sys

import pytest

from falcon_dvc.compute.resolve import executor_of
from falcon_dvc.errors import UserError
from falcon_dvc.params.load import read_yaml, validated
from tests.support.paths import ROOT
from tests.support.tasks import tasks_of


def params_with(**changes):
    return validated({**read_yaml(ROOT / "params.yaml"), **changes})


def test_local_needs_no_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with executor_of(params_with(), "s") as executor:
        assert not executor.distributed and list(executor.map(abs, tasks_of([-1]))) == [1]


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(UserError, match=r"^executor: ray needs the package ray; install the extra `ray`"),
        executor_of(params_with(executor="ray"), "s"),
    ):
        pass
