"""Name features by other methods, which read whole images and no crops: CLIP-Dissect, nearest text, correlation with captions.

All choose from the same words, for the same features. Each returns the values that words are ranked by: (features, words).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from falcon_dvc.evaluation.baselines import soft_wpmi
from falcon_dvc.evaluation.faithfulness import FEATURES_AT_ONCE, correlations_with_words

Activations = Float[np.ndarray, "images features"]
Embeddings = Float[np.ndarray, "images dim"]
Words = Float[np.ndarray, "words dim"]
Values = Float[np.ndarray, "features words"]


def strongest(activations: Activations, count: int) -> Int[np.ndarray, "features count"]:
    """Return the rows of each feature's strongest images, the strongest first; ties go to the earlier image."""
    blocks = [
        np.argsort(-activations[:, start : start + FEATURES_AT_ONCE], axis=0, kind="stable")[:count].T
        for start in range(0, max(activations.shape[1], 1), FEATURES_AT_ONCE)
    ]
    return np.concatenate(blocks)


def clip_dissect(
    images: Embeddings,
    activations: Activations,
    words: Words,
    sharpness: float = 10.0,
    discount: float = 1.0,
    top: int = 100,
) -> Values:
    """Compute CLIP-Dissect's soft-WPMI with the strongest whole images of each feature.

    Parameters
    ----------
    images, words : unit embeddings.
    activations : features as the encoder returns them, not normalised.
    sharpness, discount, top : a, lambda and k of the paper; the default values are those of the released code.

    References
    ----------
    Oikarinen and Weng, CLIP-Dissect, ICLR 2023, and its code: ``similarity.soft_wpmi``.
    """
    rows = strongest(activations, top)
    features, count = rows.shape
    feature, rank = np.repeat(np.arange(features), count), np.tile(np.arange(count), features)
    return soft_wpmi(
        images, feature, rank, features, words, crop=rows.ravel(), sharpness=sharpness, top=count, discount=discount
    )


def nearest_text(images: Embeddings, activations: Activations, words: Words, top: int = 30) -> Values:
    """Compute the cosine of each word with the mean of a feature's strongest images.

    Both are centred: the mean of all images, or of all words, is subtracted. Without this, the gap between images and
    texts decides.

    References
    ----------
    SemanticLens (Dreyer et al., Nature Machine Intelligence 2025) embeds a component as the mean of its strongest images.
    """
    means = images[strongest(activations, top)].mean(axis=1) - images.mean(axis=0)
    return _unit(means) @ _unit(words - words.mean(axis=0)).T


def caption_correlation(activations: Activations, scores: sparse.csr_array) -> Values:
    """Compute ``r(capt)``: the correlation of a feature with the score of each word, over all images.

    Parameters
    ----------
    activations : the activations by which images are ranked.
    scores : ``s_x(w)`` of whole images, sparse (images, words).
    """
    return correlations_with_words(activations, sparse.csc_array(scores))


def contrastive_projection(
    high: Float[np.ndarray, "features positives dim"],
    low: Float[np.ndarray, "features negatives dim"],
    words: Words,
    gamma: float = 0.5,
) -> Values:
    """Compute the cosine of each word with the positives of a feature less their most similar negatives, both centred.

    A row of zeros is no image.

    ``v = sum_i (p_i - gamma sim_i n_i)``. The negative n_i is the lowly activating image most similar to p_i, and sim_i is
    their cosine.

    References
    ----------
    CSP, arXiv 2604.22477.
    """
    cosine = np.einsum("fpd,fnd->fpn", high, low)
    nearest = cosine.argmax(axis=2)
    sim = np.take_along_axis(cosine, nearest[:, :, None], axis=2)
    negatives = np.take_along_axis(low, nearest[:, :, None], axis=1)
    positives = np.maximum((high != 0).any(axis=2).sum(axis=1), 1)
    direction = (high - gamma * sim * negatives).sum(axis=1) / positives[:, None]
    return _unit(direction - direction.mean(axis=0)) @ _unit(words - words.mean(axis=0)).T


def _unit(rows: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim"]:
    """Scale rows to unit length; a zero row stays zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
