"""The benchmark's corpus and what is found in it do not depend on the shards; it reads its shards once more from the files."""

import importlib.util

import pytest

from tests.support.paths import ROOT


@pytest.fixture
def laion(monkeypatch):
    spec = importlib.util.spec_from_file_location("benchmark_laion", ROOT / "benchmarks" / "laion.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "UNIT", 70)
    return module


def test_one_three_and_ten_shards_find_the_same(laion, tmp_path, monkeypatch):
    found = []
    for shards in (1, 3, 10):
        (tmp_path / str(shards)).mkdir()
        monkeypatch.chdir(tmp_path / str(shards))
        found.append(laion.measured(shards, 599, 8, 20, 0))
    assert len({one["found"] for one in found}) == len({one["kept"] for one in found}) == 1
    assert found[0]["captions"] == 599
    assert laion.measured(10, 599, 8, 20, 1)["found"] != found[0]["found"]
