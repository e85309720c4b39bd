"""A matrix of directions: what is read, and what is refused in one line that names the file."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from falcon_dvc.errors import UserError
from falcon_dvc.models.bases.basis import encode, encode_and_decode
from falcon_dvc.models.bases.directions import random_directions, read_directions

ROWS = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
X = torch.from_numpy(np.random.default_rng(1).normal(size=(8, 5)).astype(np.float32))


def test_directions_and_their_bias(tmp_path):
    np.save(tmp_path / "d.npy", ROWS.astype(np.float64))
    expected = X.numpy() @ ROWS.T
    np.testing.assert_allclose(encode(X, read_directions(tmp_path / "d.npy")), expected, atol=1e-5)
    save_file({"w": torch.from_numpy(ROWS), "b": torch.tensor([1.0, -2.0, 0.5])}, tmp_path / "d.safetensors")
    basis = read_directions(tmp_path / "d.safetensors", relu=True)
    np.testing.assert_allclose(encode(X, basis), np.maximum(expected + np.array([1, -2, 0.5]), 0), atol=1e-5)


def test_the_reconstruction_is_the_projection_onto_the_span(tmp_path):
    np.save(tmp_path / "d.npy", ROWS)
    rebuilt = encode_and_decode(X, read_directions(tmp_path / "d.npy"))[1].numpy()
    np.testing.assert_allclose(rebuilt, X.numpy() @ np.linalg.pinv(ROWS) @ ROWS, atol=1e-5)


def test_random_directions_are_unit_vectors_of_their_seed():
    basis = random_directions(20, 4, seed=3)
    torch.testing.assert_close(basis.weight.norm(dim=0), torch.ones(20))
    assert torch.equal(basis.weight, random_directions(20, 4, seed=3).weight)
    assert not torch.equal(basis.weight, random_directions(20, 4, seed=4).weight)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.ones(4), "holds array 4; save a matrix"),
        (np.ones((2, 3, 4)), "holds array 2 x 3 x 4"),
        (np.ones((0, 4)), "holds array 0 x 4"),
        (np.array([["a", "b"]]), "not a readable array of numbers"),
        (np.array([[1.0, np.inf]]), "holds values that are NaN or infinite"),
        (np.array([[1.0, 2.0], [0.0, 0.0]]), "direction 1 is 0 everywhere"),
        (np.array([object()]), "not a readable array"),
    ],
)
def test_arrays_that_are_no_directions(tmp_path, array, words):
    np.save(tmp_path / "d.npy", array, allow_pickle=True)
    with pytest.raises(UserError, match=f"^{tmp_path}/d.npy: .*{words}"):
        read_directions(tmp_path / "d.npy")


def test_files_that_are_no_directions(tmp_path):
    (tmp_path / "d.npy").write_bytes(b"\x93NUMPY\x01")
    with pytest.raises(UserError, match=r"d\.npy: not a readable array"):
        read_directions(tmp_path / "d.npy")
    (tmp_path / "d.csv").write_text("1,2")
    with pytest.raises(UserError, match=r"d\.csv: is no file of directions; use \.npy or \.safetensors"):
        read_directions(tmp_path / "d.csv")
    save_file({"w": torch.ones(2, 5), "b": torch.ones(5)}, tmp_path / "d.safetensors")
    with pytest.raises(UserError, match="the matrix is 2 x 5 and the bias 5; transpose the matrix"):
        read_directions(tmp_path / "d.safetensors")
