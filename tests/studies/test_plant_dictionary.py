"""A dictionary with known directions: ridge regression finds them, and the written file reads them back."""

import numpy as np
import pytest
import torch
from worlds.dictionary_file import write_topk
from worlds.plant_dictionary import PLANTED
from worlds.probe_directions import directions_of
from worlds.worlds import params_of, read_world

from falcon_dvc.models.bases.basis import encode, pre_activations
from falcon_dvc.models.bases.released import basis_of
from falcon_dvc.models.bases.sae_files import read_sae
from falcon_dvc.params.load import read_yaml
from falcon_dvc.synthetic.scenes.scenes import VALUES
from tests.support.paths import ROOT


@pytest.fixture
def features():
    """Features of 400 images that are mixtures of two planted directions, and which image has which."""
    rng = np.random.default_rng(0)
    values = rng.random((400, 2)) < 0.3
    true = np.array([[1.0, 0.0, 0.5, 0.0], [0.0, 1.0, 0.0, -0.5]])
    return values @ true + 0.01 * rng.normal(size=(400, 4)), values


def test_directions_tell_apart_images_with_and_without_a_value(features):
    activations, values = features
    scores = activations @ directions_of(activations, values).T
    for column in range(2):
        assert scores[values[:, column], column].min() > scores[~values[:, column], column].max()


def test_the_file_has_latents_of_variance_1_of_which_k_are_active(features, tmp_path):
    activations, values = features
    write_topk(tmp_path, directions_of(activations, values), activations, active=1)
    basis = basis_of(read_sae(tmp_path))
    vectors = torch.from_numpy(activations.astype(np.float32))
    assert pre_activations(vectors, basis).std(dim=0, correction=0).numpy() == pytest.approx(1, abs=1e-4)
    assert ((encode(vectors, basis) != 0).sum(dim=1) <= 1).all()


def test_every_attribute_but_places_has_a_latent():
    assert len(PLANTED) == sum(len(VALUES[kind]) for kind in ("object", "colour", "texture", "background"))


def test_the_worlds_have_a_supervised_encoder(monkeypatch):
    monkeypatch.chdir(ROOT / "studies")
    for name in read_yaml(ROOT / "studies/params.yaml")["bases"]:
        world = read_world(name)
        assert "supervised" in {spec.objective for spec in world.encoders.values()} and params_of(world)
