"""Measure the retrieval of an image-text encoder: is a caption of an image among the captions nearest to it?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int


def without_hubs(cosine: Float[np.ndarray, "images captions"]) -> Float[np.ndarray, "images captions"]:
    """Subtract the mean cosine of each caption, so that captions near every image do not hide the others.

    References
    ----------
    Dinu et al., Improving zero-shot learning by mitigating the hubness problem, ICLR 2015 workshop.
    """
    return cosine - cosine.mean(axis=0)


def recall_at(
    cosine: Float[np.ndarray, "images captions"], image: Int[np.ndarray, " captions"], ranks: Sequence[int]
) -> dict[str, float]:
    """Compute the share of images with one of their own captions among the k nearest, for each k of `ranks`.

    Parameters
    ----------
    cosine : of every image and caption.
    image : the image that each caption belongs to; every image has one.

    Returns
    -------
    dict
        ``recall_at_K`` for each k. Captions with equal cosines count as if the caption of the image came last.
    """
    before = _before(cosine, image)
    return {f"recall_at_{rank}": float((before < rank).mean()) for rank in ranks}


def mean_reciprocal_rank(cosine: Float[np.ndarray, "images captions"], image: Int[np.ndarray, " captions"]) -> float:
    """Compute the mean over images of 1 / rank of the nearest caption of their own; the parameters are those of `recall_at`."""
    return float((1 / (1 + _before(cosine, image))).mean())


def _before(cosine: np.ndarray, image: np.ndarray) -> Int[np.ndarray, " images"]:
    """Count the captions of other images that come before the nearest own one."""
    own = image[None, :] == np.arange(len(cosine))[:, None]
    best = np.where(own, cosine, -np.inf).max(axis=1, keepdims=True)
    return ((cosine >= best) & ~own).sum(axis=1)
