"""The settings of notebooks have the defaults of params.yaml."""

from dataclasses import asdict

from falcon_dvc import Settings
from falcon_dvc.api.settings import checked
from falcon_dvc.params.load import load_params
from tests.support.paths import ROOT


def test_the_defaults_are_those_of_params_yaml():
    params = load_params(ROOT / "params.yaml")
    sections = checked(Settings())
    for name, section in vars(sections).items():
        assert section == getattr(params, name), name
        assert set(asdict(getattr(Settings(), name))) == set(type(section).model_fields), name


def test_a_seed_replaces_that_of_the_settings():
    assert checked(Settings(), seed=7).find_groups.seed == 7
