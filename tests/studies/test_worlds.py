"""A world is params.yaml with other seeds and encoders; the studies' pipeline lists what it runs."""

from pathlib import Path

import pytest
from worlds import check_params, run_stages
from worlds.worlds import params_of, read_world, scratch

from falcon_dvc.errors import UserError
from falcon_dvc.imports import closure
from falcon_dvc.params.load import load_params, read_yaml
from tests.support.code_deps import folders_of, summed_up
from tests.support.paths import ROOT

PIPELINE = read_yaml(ROOT / "studies/dvc.yaml")["stages"]
PACKAGES, MOST = ("falcon_dvc", "stages", "worlds"), 10
STUDY = read_yaml(ROOT / "studies/params.yaml")


SEEN = {
    1,
    *range(11, 17),
    *range(21, 26),
    *range(101, 111),
}  # seeds of worlds that were measured before the settings were fixed


def code_of(name):
    """What a stage of the studies lists: `studies/` has links to the library and the stages."""
    root = ROOT / "studies"
    checked = ["falcon_dvc/params"] if name == "check_params" else []
    return sorted(checked + summed_up(folders_of(closure(root / "worlds" / f"{name}.py", root, PACKAGES), root), MOST))


@pytest.fixture(autouse=True)
def _in_studies(monkeypatch):
    monkeypatch.chdir(ROOT / "studies")


@pytest.mark.parametrize("name", STUDY["worlds"])
def test_a_world_changes_seeds_and_encoders_only(name):
    world, base = read_world(name), load_params(ROOT / "params.yaml")
    params = params_of(world)
    assert params.render_scenes.seed == world.seed
    assert set(params.without_controls) == set(world.encoders) == set(params.train)
    assert {spec.widths[-1] for spec in params.train.values()} == {spec.features for spec in world.encoders.values()}
    assert params.concepts == base.concepts and params.mine_crops == base.mine_crops
    assert params.find_groups.model_copy(update={"seed": 0}) == base.find_groups


def test_controls_calibrate_all_encoders_of_their_world_and_no_two_worlds_share_one():
    controls = [spec for name in STUDY["worlds"] for spec in params_of(read_world(name)).encoders.values()]
    controls = [spec for spec in controls if spec.control_of]
    assert all(spec.weights == "random" and spec.control_of == ("supervised", "simclr") for spec in controls)
    assert len({spec.seed for spec in controls}) == len(controls) >= 10


def test_worlds_that_settings_were_chosen_on_are_not_reported():
    seeds = {
        role: {world["seed"] for world in STUDY["worlds"].values() if world["role"] == role}
        for role in ("selection", "reported")
    }
    seen = seeds["selection"] | {load_params(ROOT / "params.yaml").render_scenes.seed} | SEEN
    assert not seen & seeds["reported"]
    assert len(seeds["reported"]) >= 5


def test_an_unknown_world_is_named():
    with pytest.raises(UserError, match="worlds has no 'nowhere'"):
        read_world("nowhere")


def test_released_settings_are_one_switch():
    params = run_stages.varied(params_of(read_world("r111")), {"compat": "released"})
    assert (params.find_groups.rule, params.find_groups.grouping) == ("sigma", "exact")
    assert (params.concepts.normaliser, params.concepts.contrast) == ("shard", "released")
    assert not params.mine_crops.low_crops


def test_scratch_is_gone_afterwards_and_the_old_folder_is_back():
    before = Path.cwd()
    with pytest.raises(RuntimeError), scratch() as home:
        assert home == before and not any(Path.cwd().iterdir())
        inside = Path.cwd()
        raise RuntimeError
    assert Path.cwd() == before and not inside.exists()


@pytest.mark.parametrize("name", PIPELINE)
def test_deps_are_the_import_closure(name):
    definition = PIPELINE[name].get("do", PIPELINE[name])
    assert definition["cmd"].split()[3] == name
    listed = [dep for dep in definition["deps"] if dep.split("/")[0] in PACKAGES]
    assert sorted(listed) == code_of(name)
    assert len(listed) <= MOST


def test_every_stage_waits_for_the_check():
    """Those without inputs of another stage depend on it; models and tables are made by stages that do."""
    for name, definition in PIPELINE.items():
        deps = definition.get("do", definition)["deps"]
        made = [dep for dep in deps if dep.startswith(("models/", "tables"))]
        assert made or "params_checked.txt" in deps or name == "check_params"


def test_the_check_finds_a_bad_value_of_either_file(tmp_path, monkeypatch):
    (tmp_path / "studies").mkdir()
    for name, written, instead in (
        ("params.yaml", "seed: 0", "seed: no"),
        ("studies/params.yaml", "seed: 112", "seed: no"),
    ):
        for path in ("params.yaml", "studies/params.yaml"):
            text = (ROOT / path).read_text(encoding="utf-8")
            (tmp_path / path).write_text(text.replace(written, instead, 1) if path == name else text, encoding="utf-8")
        monkeypatch.chdir(tmp_path / "studies")
        with pytest.raises(UserError, match="seed"):
            check_params.run()
        assert not (tmp_path / "studies/params_checked.txt").exists()
