"""Heatmaps of an encoder are made of its maps where it has some, else by gradients, for the same images and directions."""

import numpy as np
import pytest
from scipy import sparse

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_json
from falcon_dvc.compute.resume import Resumable
from falcon_dvc.crops import localisation
from falcon_dvc.crops.heatmaps import heatmaps_of
from falcon_dvc.crops.localisation import Localisation
from falcon_dvc.models.encoders.load import load_encoder
from stages import extract_activations
from tests.support.extraction import params_of, write_images

VIT = {"kind": "timm", "name": "test_vit", "weights": "random", "size": 64}
COUNT = 5


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Extract activations of random images, as the stage does; give the params."""
    monkeypatch.chdir(tmp_path)
    images = write_images(COUNT)

    def extract(**spec):
        params = params_of(**spec)
        extract_activations.run(params, "mine")
        return params, images, paths.activations("mine")

    return extract


def test_maps_are_stored_and_used(run):
    params, images, folder = run(**VIT)
    features, maps = load_encoder(params.encoders["mine"]).activations(images)
    np.testing.assert_allclose(read_array(folder / "features.npy"), features, atol=1e-5)
    np.testing.assert_array_equal(read_array(folder / "maps.npy").shape, (COUNT, 64, 4, 4))
    rows, directions = np.array([3, 0, 3]), np.random.default_rng(1).normal(size=(3, 64))
    found = Localisation(params, "mine", Resumable("test")).of_directions(rows, directions)
    np.testing.assert_allclose(found, heatmaps_of(maps[rows], directions), atol=0.05)
    assert found.max() > 0.5


def test_a_class_token_has_no_maps_and_heatmaps_by_gradients(run, monkeypatch):
    params, images, folder = run(**VIT, pooling="cls")
    assert sorted(path.name for path in folder.iterdir()) == ["encoder.json", "features.npy", "fields.npy"]
    assert read_json(folder / "encoder.json")["layers"][0]["heatmap_layer"] == "blocks.4"
    monkeypatch.setattr(localisation, "AT_ONCE", 2)
    rows, directions = np.array([3, 0, 3]), np.random.default_rng(1).normal(size=(3, 64))
    found = Localisation(params, "mine", Resumable("test")).of_directions(rows, directions)
    expected = load_encoder(params.encoders["mine"]).heatmaps([images[row] for row in rows], directions)
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max())
    assert expected.max() > 0


def test_a_group_is_the_direction_of_ones_on_its_members(run):
    params, _, _ = run(**VIT, pooling="cls")
    members = sparse.csr_array(np.eye(64)[[1, 5, 9]] + np.eye(64)[[2, 2, 7]])
    rows, located = np.array([1, 2, 4]), Localisation(params, "mine", Resumable("test"))
    np.testing.assert_allclose(located.of_groups(rows, members), located.of_directions(rows, members.toarray()))
    assert located.of_groups(rows[:0], members[:0]).shape[0] == 0


def test_files_of_another_kind_do_not_stay(run):
    _, _, folder = run(**VIT)
    assert (folder / "maps.npy").exists()
    _, _, folder = run(**VIT, pooling="cls")
    assert not (folder / "maps.npy").exists()


def test_what_was_taken_from_a_checkpoint_is_told_and_kept(run, tmp_path, capsys):
    import timm
    import torch

    state = timm.create_model("test_vit", img_size=64).state_dict()
    torch.save({"teacher": {f"backbone.{key}": value for key, value in state.items()}}, tmp_path / "dino.pth")
    _, _, folder = run(**(VIT | {"weights": "checkpoint", "checkpoint": "dino.pth"}))
    assert "dino.pth: 78 of 78 tensors loaded (nesting 'teacher', prefix 'backbone.')" in capsys.readouterr().out
    found = read_json(folder / "encoder.json")["checkpoint"]
    assert found["nesting"] == "teacher" and len(found["taken"]) == 80 and found["left"] == []
