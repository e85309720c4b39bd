"""Features in another basis, in memory: of a network and of arrays, from files, arrays and fits."""

import numpy as np
import pytest

import falcon_dvc
from falcon_dvc.api.encoders import activations_of
from falcon_dvc.api.settings import ExtractActivations
from falcon_dvc.errors import UserError
from falcon_dvc.images.source import PicturesInMemory
from falcon_dvc.models.encoders.load import ScenesEncoder
from tests.support.coloured_squares import SeesColours, pictures
from tests.support.sae_files import arrays, write_saelens

SOURCE = PicturesInMemory(pictures(12))
DIRECTIONS = np.array([[1.0, -1.0, 0, 0], [0, 0, 2.0, 0]])  # red against green, and blue


@pytest.fixture(scope="module")
def network():
    return falcon_dvc.network(SeesColours())


@pytest.fixture(scope="module")
def plain(network):
    """Features and maps in channels."""
    return network.activations(pictures(12))


def features(encoder, basis):
    return activations_of(encoder, SOURCE, ExtractActivations(), basis)


def test_directions_apply_at_each_position_of_a_network_and_of_arrays(network, plain, tmp_path):
    found = features(network, DIRECTIONS)
    np.testing.assert_allclose(found.features, plain[0] @ DIRECTIONS.T, atol=1e-5)
    assert found.maps.shape == (12, 2, *plain[1].shape[2:])
    np.save(tmp_path / "w.npy", DIRECTIONS)
    for given in (features(plain, DIRECTIONS), features(network, tmp_path / "w.npy")):
        np.testing.assert_allclose(given.features, found.features, atol=1e-5)
        np.testing.assert_allclose(given.maps, found.maps, atol=1e-3)
    assert network.width == 4 and features(plain[0], DIRECTIONS).maps is None


def test_components_are_fitted_to_the_images_and_have_two_sides(network, plain):
    whole = features(network, "pca:2")
    np.testing.assert_allclose(features(plain, "pca:2").features, whole.features, atol=1e-4)
    sides = features(network, {"fit": "pca", "components": 2, "both_signs": True})
    assert sides.features.shape == (12, 4) and (sides.features >= 0).all()
    np.testing.assert_allclose(sides.features[:, :2] - sides.features[:, 2:], whole.features, atol=1e-4)


def test_an_autoencoder_is_read_from_its_folder(network, tmp_path):
    found = features(network, str(write_saelens(tmp_path / "sae", arrays(0))))
    assert found.features.shape == (12, 6) and (found.features >= 0).all()
    assert features(network, "random:5").features.shape == (12, 5)


@pytest.mark.parametrize(
    ("basis", "words"),
    [
        (DIRECTIONS[:, :3], r"basis: float64 of shape \(2, 3\); give finite directions \(features, 4\)"),
        (np.zeros((2, 4)), "none of them 0"),
        ("pca:9", r"basis\.components: 9 components cannot be fitted"),
        ("none.npy", r"basis none\.npy: no such file"),
        (3, "basis: a int; give pca:64"),
        ({"fit": "svd", "components": 2}, r"basis\.fit: Input should be"),
    ],
)
def test_a_wrong_basis_is_refused_in_one_line(network, basis, words):
    with pytest.raises(UserError, match=words):
        features(network, basis)


def test_what_takes_no_basis_is_refused(plain):
    with pytest.raises(UserError, match="basis: a ScenesEncoder takes none"):
        features(ScenesEncoder.__new__(ScenesEncoder), DIRECTIONS)
    with pytest.raises(UserError, match="neither the mean nor the maximum"):
        features((2 * plain[0] + 1, plain[1]), DIRECTIONS)
