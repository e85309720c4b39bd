"""A world's metrics become rows; its readers are params.yaml with other seeds and sizes."""

import pytest
from worlds.downstream import _numbers, _with_pairs_and_failures, worlds
from worlds.image_text_encoders import params_of_reader
from worlds.worlds import params_of, read_world, readers

from falcon_dvc.errors import UserError
from falcon_dvc.params.load import load_params, read_yaml
from tests.support.paths import ROOT


@pytest.fixture(autouse=True)
def _in_studies(monkeypatch):
    monkeypatch.chdir(ROOT / "studies")


def test_numbers_are_keyed_by_their_path_and_intervals_are_left_out():
    content = {"a": {"share": 0.5, "interval_low": 0.4, "interval_high": 0.6, "failures": 3}, "b": 1}
    assert list(_numbers(content)) == [("a.share", 0.5), ("a.failures", 3.0), ("b", 1.0)]


def test_every_pair_of_encoders_and_every_classifier_is_used():
    assert len(worlds()) >= 5
    for name in worlds():
        world = read_world(name)
        used = _with_pairs_and_failures(params_of(world), world)
        pairs = {(pair.explained, pair.unseen) for pair in used.transfers.values()}
        assert pairs == {("supervised", "simclr"), ("simclr", "supervised")}
        assert used.failures.encoders == ("supervised",)
        assert world.role == "reported"


def test_a_reader_is_trained_on_another_world_than_any_that_it_reads():
    base = load_params(ROOT / "params.yaml")
    seeds = {read_world(name).seed for name in worlds()} | {base.render_scenes.seed}
    for name, reader in readers().items():
        params = params_of_reader(name)
        assert params.render_scenes.seed == params.train_clip.seed == reader.seed not in seeds
        assert params.train_clip.width == reader.width != base.train_clip.width


def test_a_world_is_measured_again_when_a_reader_changes():
    deps = read_yaml(ROOT / "studies/dvc.yaml")["stages"]["measure_world"]["do"]["deps"]
    listed = {dep for dep in deps if dep.startswith("models/reader_")}
    assert listed == {f"models/reader_{name}.safetensors" for name in readers()}


def test_an_unknown_reader_is_named():
    with pytest.raises(UserError, match="readers has no 'nobody'; known are: narrow"):
        params_of_reader("nobody")
