"""What the stages of dvc.yaml are, and what each runs for."""

from falcon_dvc.cli.pipeline import read_stages
from falcon_dvc.params.load import load_params
from tests.support.paths import ROOT


def test_each_stage_has_a_module_a_description_and_its_keys():
    found, params = read_stages(ROOT / "dvc.yaml"), load_params(ROOT / "params.yaml")
    modules = {path.stem for path in (ROOT / "stages").glob("[!_]*.py")}
    assert set(found) <= modules and all(stage.description for stage in found.values())
    assert found["collect_images"].keys(params) is None
    assert found["find_groups"].keys(params) == list(params.encoders)
    assert found["evaluate_units"].keys(params) == list(params.evaluate_units.encoders)
    assert found["transfer"].keys(params) == list(params.transfers)
