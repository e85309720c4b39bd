"""The recipes of docs/bases.md are valid profiles, and the options are those of the schema."""

import re

import pytest
from ruamel.yaml import YAML

from falcon_dvc.params.load import merge, read_yaml, validated
from falcon_dvc.params.schema import Basis
from tests.support.paths import ROOT

TEXT = (ROOT / "docs/bases.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_a_valid_profile(recipe):
    content = read_yaml(ROOT / "params.yaml")
    merge(content, YAML(typ="safe", pure=True).load(recipe))
    params = validated(content)
    assert any(spec.basis for spec in params.encoders.values()) and not params.worlds


def test_there_is_a_recipe_for_each_source_that_users_bring():
    assert len(RECIPES) == 4 and all(f"{source}:" in "".join(RECIPES) for source in Basis.options)


def test_every_option_is_described():
    named = {name for options in Basis.options.values() for name in options} - {"digest"}
    assert not {name for name in named if f"`{name}" not in TEXT}
