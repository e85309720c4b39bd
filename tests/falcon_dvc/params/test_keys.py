"""Look-ups read the keys of params.yaml without its schema."""

import pytest

from falcon_dvc.errors import UserError
from falcon_dvc.params.keys import read_keys
from falcon_dvc.params.load import load_params
from tests.support.paths import ROOT


def test_they_are_those_of_the_params():
    keys, params = read_keys(ROOT / "params.yaml"), load_params(ROOT / "params.yaml")
    assert keys.encoders == tuple(params.encoders) and keys.worlds == params.worlds
    assert keys.language == params.parse_captions.language


def test_other_values_are_not_checked(tmp_path):
    (tmp_path / "params.yaml").write_text("encoders: {mine: {kind: nosuch}}\nworlds: []\n")
    keys = read_keys(tmp_path / "params.yaml")
    assert keys.encoders == ("mine",) and not keys.worlds and keys.language == "en"


@pytest.mark.parametrize("text", ["", "[1]", "encoders: {}", "encoders: simclr", "worlds: []"])
def test_a_file_without_encoders_is_refused(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match="encoders: missing or not a section; `falcon check`"):
        read_keys(tmp_path / "params.yaml")
