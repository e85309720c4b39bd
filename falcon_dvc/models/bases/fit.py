"""Fit a basis to activations: principal, independent or non-negative components."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from falcon_dvc.errors import UserError
from falcon_dvc.models.bases.basis import Basis

Vectors = Float32[np.ndarray, "vectors channels"]
ITERATIONS = 500  # of ICA and NMF, at most


def fit_basis(vectors: Vectors, method: str, components: int, seed: int, param: str) -> Basis:
    """Fit components with scikit-learn.

    Parameters
    ----------
    vectors : (vectors, channels)
        Activations of the layer at single positions.
    method : {"pca", "ica", "nmf"}
        PCA by the covariance, FastICA with unit variance, or NMF by coordinate descent.
    components : int
        Number of features.
    seed : int
        Of ICA and NMF.
    param : str
        Name of the param, for errors.

    Raises
    ------
    UserError
        If there are too few vectors or channels, or NMF gets negative values.
    """
    most = min(vectors.shape)
    if components > most:
        raise UserError(
            f"{param}.components: {components} components cannot be fitted to {len(vectors)} vectors of {vectors.shape[1]} "
            f"channels; set at most {most}"
        )
    if method == "nmf" and vectors.min() < 0:
        raise UserError(
            f"{param}.fit: nmf needs activations that are never negative; name a layer after a ReLU, or use pca or ica"
        )
    fitted, remarks = _fitted(_model(method, components, seed), vectors)
    basis = {"pca": _of_pca, "ica": _of_ica, "nmf": _of_nmf}[method](fitted)
    description = {"format": method, "components": components, "vectors": len(vectors), "remarks": remarks}
    return replace(basis, description=description)


def positions_of(
    features: Float32[np.ndarray, "images channels"], maps: Float32[np.ndarray, "images channels rows columns"] | None
) -> Float32[np.ndarray, "images positions channels"]:
    """Return the vectors of images that a basis applies to: those at the positions of maps, else the features."""
    return features[:, None] if maps is None else maps.reshape(*maps.shape[:2], -1).transpose(0, 2, 1)


def drawn_positions(
    vectors: Float32[np.ndarray, "images positions channels"], most: int, generator: np.random.Generator
) -> Vectors:
    """Draw positions of each image, at most so many."""
    images, positions, channels = vectors.shape
    if positions <= most:
        return vectors.reshape(-1, channels)
    chosen = np.sort(generator.permuted(np.tile(np.arange(positions), (images, 1)), axis=1)[:, :most], axis=1)
    return np.take_along_axis(vectors, chosen[:, :, None], axis=1).reshape(-1, channels)


def _model(method: str, components: int, seed: int) -> Any:
    from sklearn.decomposition import NMF, PCA, FastICA

    if method == "pca":
        return PCA(components, svd_solver="covariance_eigh")
    if method == "ica":
        return FastICA(components, whiten="unit-variance", random_state=seed, max_iter=ITERATIONS)
    return NMF(components, init="nndsvda", random_state=seed, max_iter=ITERATIONS)


def _fitted(model: Any, vectors: Vectors) -> tuple[Any, list[str]]:
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(vectors.astype(np.float64))
    stopped = any(issubclass(one.category, ConvergenceWarning) for one in caught)
    return model, [f"the fit did not converge in {ITERATIONS} iterations; use fewer components"] if stopped else []


def _of_pca(model: Any) -> Basis:
    return _affine(model.components_, model.components_, model.mean_)


def _of_ica(model: Any) -> Basis:
    return _affine(model.components_, model.mixing_.T, model.mean_)


def _affine(directions: np.ndarray, decoder: np.ndarray, mean: np.ndarray) -> Basis:
    weight, rows, offset = (torch.from_numpy(np.array(one, dtype=np.float32)) for one in (directions.T, decoder, mean))
    return Basis(weight, torch.zeros(weight.shape[1]), rows, offset, before=offset)


def _of_nmf(model: Any) -> Basis:
    rows = torch.from_numpy(np.array(model.components_, dtype=np.float32))
    zeros = torch.zeros(rows.shape[0]), torch.zeros(rows.shape[1])
    return Basis(torch.zeros(0), zeros[0], rows, zeros[1], activation="nnls")
