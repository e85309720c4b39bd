"""A basis applies to each token of the layer, before the pooling; heatmaps come from the latents."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from falcon_dvc.errors import UserError
from falcon_dvc.models.bases.basis import Basis, encode
from falcon_dvc.models.bases.stored import save_basis
from falcon_dvc.models.encoders.classifiers import linear_classifier
from falcon_dvc.models.encoders.load import load_encoder
from falcon_dvc.params.schema import EncoderSpec
from tests.support.tiny_models import pictures

VIT = {"kind": "timm", "name": "test_vit", "weights": "random", "size": 64, "layer": "blocks.3"}
NAMED = {"basis": {"random": 9}}  # what the stage made of it is in the file


def spec(**given):
    return TypeAdapter(EncoderSpec).validate_python(VIT | given)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A TopK autoencoder of 64 channels in the stage's file."""
    torch.manual_seed(0)
    tensors = {
        "weight": torch.randn(64, 9),
        "bias": torch.randn(9),
        "decoder": torch.randn(9, 64),
        "offset": torch.zeros(64),
    }
    basis, path = Basis(**tensors, activation="topk", k=3), tmp_path_factory.mktemp("bases") / "mine.safetensors"
    save_basis(path, basis)
    return basis, path


@pytest.fixture(scope="module")
def tokens():
    """Class token and maps of the layer in its channels."""
    images = pictures(3)
    return images, load_encoder(spec(pooling="cls")).activations(images)[0], load_encoder(spec()).activations(images)[1]


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_patches(stored, tokens, pooling):
    (basis, path), (images, _, maps) = stored, tokens
    encoder = load_encoder(spec(pooling=pooling, **NAMED), basis_file=path)
    features, found = encoder.activations(images)
    expected = encode(torch.from_numpy(maps).permute(0, 2, 3, 1), basis).permute(0, 3, 1, 2).numpy()
    assert encoder.width == 9
    np.testing.assert_allclose(found, expected, atol=1e-4)
    pooled = expected.mean(axis=(2, 3)) if pooling == "mean" else expected.max(axis=(2, 3))
    np.testing.assert_allclose(features, pooled, atol=1e-4)


def test_the_class_token_with_gradients_or_with_the_latents_of_the_patches(stored, tokens):
    (basis, path), (images, token, maps) = stored, tokens
    encoder = load_encoder(spec(pooling="cls", **NAMED), basis_file=path)
    features, none = encoder.activations(images)
    np.testing.assert_allclose(features, encode(torch.from_numpy(token), basis), atol=1e-4)
    heat = encoder.heatmaps(images, np.ones((3, 9)))
    assert none is None and heat.shape[1:] == maps.shape[2:] and heat.min() >= 0 and heat.max() > 0
    own = load_encoder(spec(pooling="cls", heatmap_layer="blocks.3", **NAMED), basis_file=path)
    same, found = own.activations(images)
    np.testing.assert_allclose(same, features, atol=1e-5)
    np.testing.assert_allclose(found[0, :, 1, 2], encode(torch.from_numpy(maps[0, :, 1, 2]), basis), atol=1e-4)


def test_a_vector(stored, tokens):
    basis, path = stored
    plain = load_encoder(spec(layer="fc_norm"), basis_file=path).activations(tokens[0])[0]
    found = load_encoder(spec(layer="fc_norm", **NAMED), basis_file=path).activations(tokens[0])[0]
    np.testing.assert_allclose(found, encode(torch.from_numpy(plain), basis), atol=1e-4)


def test_a_basis_of_another_layer_is_refused(stored):
    network = {"kind": "timm", "name": "test_resnet", "weights": "random", "size": 64, "layer": "layer1"}
    wrong = TypeAdapter(EncoderSpec).validate_python(network | NAMED)
    with pytest.raises(
        UserError, match=r"encoders\.basis: was prepared for 64 channels, and the layer has \d+; run `dvc repro`"
    ):
        load_encoder(wrong, basis_file=stored[1])


def test_the_classifier_of_the_network_does_not_read_the_features():
    with pytest.raises(UserError, match=r"encoders\.e\.basis: the network's own classifier .*fit_probe\.encoders"):
        linear_classifier(spec(classes="imagenet", **NAMED), "encoders.e")
