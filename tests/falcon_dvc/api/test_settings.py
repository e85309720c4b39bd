"""The settings of notebooks have the defaults of params.yaml."""

from dataclasses import asdict

import pytest

from falcon_dvc import Settings
from falcon_dvc.api.settings import MineCrops, checked
from falcon_dvc.errors import UserError
from falcon_dvc.params.load import load_params
from tests.support.paths import ROOT


def test_the_defaults_are_those_of_params_yaml():
    params = load_params(ROOT / "params.yaml")
    sections = checked(Settings())
    for name, section in vars(sections).items():
        chosen = {"encoders": ()} if name == "ablate_features" else {}
        assert section == getattr(params, name).model_copy(update=chosen), name
        assert {*asdict(getattr(Settings(), name)), *chosen} == set(type(section).model_fields), name


def test_a_seed_replaces_that_of_the_settings():
    sections = checked(Settings(), seed=7)
    assert sections.find_groups.seed == sections.find_facets.seed == sections.ablate_features.seed == 7


def test_what_only_the_pipeline_has_is_refused():
    with pytest.raises(UserError, match=r"settings: MineCrops\.embed: only the pipeline has it"):
        checked(Settings(mine_crops=MineCrops(embed="maps")))
