"""A stored basis is the same basis; another file gives one line."""

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from falcon_dvc.errors import UserError
from falcon_dvc.models.bases.basis import encode
from falcon_dvc.models.bases.released import basis_of
from falcon_dvc.models.bases.sae_files import read_sae
from falcon_dvc.models.bases.stored import read_stored_basis, save_basis
from tests.support.sae_files import arrays, of_sae_v, vectors, write_sae_v


def test_a_basis_is_the_same_after_it_was_stored(tmp_path):
    threshold = {"activation.threshold": torch.tensor(0.4)}
    basis = basis_of(read_sae(write_sae_v(tmp_path / "sae.pt", arrays(0), of_sae_v("BatchTopK"), **threshold)))
    written = []
    for _ in range(2):
        save_basis(tmp_path / "b.safetensors", basis)
        written.append((tmp_path / "b.safetensors").read_bytes())
    found = read_stored_basis(tmp_path / "b.safetensors")
    assert written[0] == written[1] and found.description == basis.description
    x = torch.from_numpy(vectors(0))
    assert torch.equal(encode(x, found), encode(x, basis))


def test_another_file_is_no_basis(tmp_path):
    for number, metadata in enumerate((None, {"basis": "null"})):
        save_file({"x": np.ones(2)}, tmp_path / f"{number}.safetensors", metadata)
        with pytest.raises(UserError, match=r"holds no basis .*; run `dvc repro` to make it again"):
            read_stored_basis(tmp_path / f"{number}.safetensors")
