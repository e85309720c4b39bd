"""How a user asks for a basis in one text."""

from pathlib import Path

import pytest

from falcon_dvc.errors import UserError
from falcon_dvc.models.bases.request import basis_entry


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("w.npy", "sae.safetensors"):
        Path(name).touch()
    Path("folder").mkdir()


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("pca:64", {"fit": "pca", "components": 64}),
        ("nmf:2", {"fit": "nmf", "components": 2}),
        ("random:9", {"random": 9}),
        ("w.npy", {"directions": Path("w.npy")}),
        ("sae.safetensors", {"sae": Path("sae.safetensors")}),
        ("folder", {"sae": Path("folder")}),
        ("directions:sae.safetensors", {"directions": Path("sae.safetensors")}),
    ],
)
def test_entries(text, entry):
    assert basis_entry(text, "--basis") == entry


@pytest.mark.parametrize("text", ["pca", "pca:1", "pca:x", "ica:", "none.npy", "sae:none.pt", "svd:64"])
def test_other_texts_are_refused_with_the_fix(text):
    with pytest.raises(UserError, match=rf"^--basis {text}: .*pca"):
        basis_entry(text, "--basis")
