"""The benchmark of passes measures every part of a pass, and says how many threads feed a network."""

import json

import numpy as np
import pytest

from benchmarks import passes
from falcon_dvc.artifacts.formats import write_json
from falcon_dvc.threads import WORKERS


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("passes")
    encoders = {"tiny": passes.untrained(folder / "tiny.safetensors", 4, (8, 12))}
    return passes.measured(folder, encoders, images=5, repeats=2, batch=2), folder


def test_every_part_is_measured_with_its_spread(found):
    parts, _ = found
    one = parts["encoders"]["tiny"]
    measured = [parts["decode"], one["made_ready"], one["memory_order"]]
    measured.append({name: one[name] for name in ("prepare", "forward", "in_turn", "overlapped")})
    for rate in (rate for some in measured for rate in some.values()):
        assert 0 < rate["least"] <= rate["median"] <= rate["most"]
    assert list(one["memory_order"]) == ["channels_last", "contiguous"]
    assert f"{WORKERS}_threads" in parts["decode"] and "1_threads" in parts["decode"]


def test_the_results_are_strict_json(found, tmp_path):
    write_json(tmp_path / "out" / "passes.json", found[0])
    assert json.loads((tmp_path / "out" / "passes.json").read_text())["images"] == 5


def test_photographs_are_files_of_their_size_and_no_two_alike(found):
    photos = passes.make_photos(found[1] / "more", 2)
    first, second = photos.load_many([0, 1])
    assert first.shape == (480, 640, 3) and np.abs(first.astype(int) - second).mean() > 10
    size = (found[1] / "more" / "0.jpg").stat().st_size
    assert 30_000 < size < 300_000  # bytes: as photographs have


def test_the_median_and_the_spread_of_rates(monkeypatch):
    clock = iter([0.0, 10.0, 11.0, 20.0, 22.0, 30.0, 34.0])
    monkeypatch.setattr(passes.time, "perf_counter", lambda: next(clock))
    found = passes.rates({"a": lambda: None}, items=8, repeats=3)
    assert found == {"a": {"median": 4.0, "least": 2.0, "most": 8.0}}


@pytest.mark.parametrize(("forward", "threads"), [(10.0, 1), (25.0, 4), (99.0, None)])
def test_the_threads_that_feed_a_network(forward, threads):
    ready = {f"{count}_threads": {"median": 12.0 * count} for count in (1, 2, 4)}
    needed = passes.feeding({"made_ready": ready, "forward": {"median": forward}, "prepare": {"median": 1.0}})
    assert needed == ({} if threads is None else {"threads_that_feed_forward": threads})
