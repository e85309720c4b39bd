"""Whether a stored basis has both signs is read from its header."""

from dataclasses import replace

import pytest
import torch
from safetensors.numpy import save_file

from falcon_dvc.errors import UserError
from falcon_dvc.models.bases.directions import linear_basis
from falcon_dvc.models.bases.sides import has_both_signs
from falcon_dvc.models.bases.stored import save_basis


@pytest.mark.parametrize("both", [True, False])
def test_a_stored_basis_says_whether_it_has_both_signs(tmp_path, both):
    save_basis(tmp_path / "b.safetensors", replace(linear_basis(torch.eye(3), torch.zeros(3)), both_signs=both))
    assert has_both_signs(tmp_path / "b.safetensors") == both


def test_an_encoder_without_a_basis_has_none(tmp_path):
    save_file({}, tmp_path / "b.safetensors", {"basis": "null"})
    assert not has_both_signs(tmp_path / "b.safetensors") and not has_both_signs(tmp_path / "none.safetensors")


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "b.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match=r"b\.safetensors: holds no basis"):
        has_both_signs(tmp_path / "b.safetensors")
