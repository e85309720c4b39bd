"""Fitted components give the features and the reconstruction of scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import NMF, PCA

from falcon_dvc.errors import UserError
from falcon_dvc.models.bases import fit
from falcon_dvc.models.bases.basis import encode_and_decode
from falcon_dvc.models.bases.explained_variance import explained_variance
from falcon_dvc.models.bases.fit import fit_basis

PARTS = np.random.default_rng(0).random((3, 6)).astype(np.float32)
X = (np.random.default_rng(1).gamma(1, size=(150, 3)) @ PARTS).astype(np.float32)


def fitted(method, x=X, components=3):
    basis = fit_basis(x, method, components, 0, "encoders.e.basis")
    codes, rebuilt = encode_and_decode(torch.from_numpy(x), basis)
    return basis, codes.numpy(), rebuilt.numpy()


def test_pca():
    _, codes, rebuilt = fitted("pca", components=2)
    model = PCA(2, svd_solver="covariance_eigh").fit(X.astype(float))
    np.testing.assert_allclose(codes, model.transform(X), atol=1e-4)
    np.testing.assert_allclose(rebuilt, model.inverse_transform(model.transform(X)), atol=1e-4)


def test_ica_gives_independent_features_of_unit_variance():
    _, codes, rebuilt = fitted("ica")
    np.testing.assert_allclose(np.cov(codes.T, ddof=0), np.eye(3), atol=1e-2)
    np.testing.assert_allclose(rebuilt, X, atol=1e-3)


def test_nmf():
    basis, codes, rebuilt = fitted("nmf")
    assert codes.min() >= 0 and basis.decoder.min() >= 0
    model = NMF(3, init="nndsvda", random_state=0, max_iter=500).fit(X.astype(float))
    np.testing.assert_allclose(rebuilt, model.inverse_transform(model.transform(X.astype(float))), atol=0.02)
    np.testing.assert_allclose(basis.decoder, model.components_, atol=1e-4)


@pytest.mark.parametrize(
    ("method", "x", "components", "words"),
    [
        ("nmf", X - 1, 2, "basis.fit: nmf needs activations that are never negative"),
        ("pca", X, 7, r"basis.components: 7 components cannot be fitted to 150 vectors of 6 channels; set at most 6"),
        ("ica", X[:2], 3, r"set at most 2"),
    ],
)
def test_what_cannot_be_fitted(method, x, components, words):
    with pytest.raises(UserError, match=words):
        fitted(method, x, components)


def test_a_fit_that_did_not_converge_is_a_remark(monkeypatch):
    monkeypatch.setattr(fit, "ITERATIONS", 2)
    noise = np.random.default_rng(2).normal(size=(40, 12)).astype(np.float32)
    assert "did not converge" in fit_basis(noise, "ica", 12, 0, "p").description["remarks"][0]


def test_components_explain_the_variance_that_scikit_learn_says():
    basis, *_ = fitted("pca", components=2)
    _, sums = basis.features(torch.from_numpy(X)[:, None], measured=True)
    expected = PCA(2).fit(X.astype(float)).explained_variance_ratio_.sum()
    assert explained_variance(sums.sum(axis=0), basis.centred) == pytest.approx(expected, abs=1e-4)
