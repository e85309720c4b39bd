"""A world's metrics become rows; every pair of its trained encoders is used."""

import pytest
from worlds.downstream import _numbers, _with_pairs_and_failures, worlds
from worlds.worlds import params_of, read_world

from tests.support.paths import ROOT


@pytest.fixture(autouse=True)
def _in_studies(monkeypatch):
    monkeypatch.chdir(ROOT / "studies")


def test_numbers_are_keyed_by_their_path_and_intervals_are_left_out():
    content = {"a": {"share": 0.5, "interval_low": 0.4, "interval_high": 0.6, "failures": 3}, "b": 1}
    assert list(_numbers(content)) == [("a.share", 0.5), ("a.failures", 3.0), ("b", 1.0)]


def test_every_pair_of_trained_encoders_and_every_classifier_is_used():
    assert len(worlds()) >= 5
    for name in worlds():
        world = read_world(name)
        used = _with_pairs_and_failures(params_of(world), world)
        pairs = {(pair.explained, pair.unseen) for pair in used.transfers.values()}
        assert pairs == {("supervised", "simclr"), ("simclr", "supervised")}
        assert used.failures.encoders == ("supervised",)
        assert world.role == "reported"
