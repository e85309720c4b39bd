"""The share of the variance of a layer's activations that a basis reconstructs, from sums over images.

A low share shows at once that activations and basis do not belong together: another layer, another normalisation, other
tokens, a transposed matrix.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Sums = Float[np.ndarray, "*images numbers"]


def sums_of(vectors: Float[Tensor, "images positions channels"], rebuilt: Tensor) -> Sums:
    """Return what `explained_variance` needs, for each image: a row of float64 that can be added to others.

    The numbers are: sum of the vectors, sum of the differences to the reconstruction, sums of their squares, count.
    """
    rest = vectors - rebuilt
    count = torch.full_like(vectors[:, 0, :1], vectors.shape[1])
    squares = [one.square().sum(dim=(1, 2))[:, None] for one in (vectors, rest)]
    parts = [vectors.sum(dim=1), rest.sum(dim=1), *squares, count]
    return torch.cat([part.cpu().double() for part in parts], dim=1).numpy()


def numbers(channels: int) -> int:
    """Return the length of a row of `sums_of`."""
    return 2 * channels + 3


def explained_variance(sums: Float[np.ndarray, " numbers"], centred: bool) -> float | None:
    """Return ``1 - |x - x^|^2 / |x - mean|^2``, summed over all vectors.

    Parameters
    ----------
    sums
        The sum of rows of `sums_of`.
    centred
        Subtract the mean of the differences too, for a basis that knows no mean.

    Returns
    -------
    float or None
        1 for a perfect reconstruction; 0 for that by the mean; None if all vectors are equal.
    """
    channels = (len(sums) - 3) // 2
    total, rest, (of_vectors, of_rest, count) = sums[:channels], sums[channels:-3], sums[-3:]
    if not count:
        return None
    variance = of_vectors - total @ total / count
    if variance <= 1e-9 * of_vectors:
        return None
    return float(1 - (of_rest - (rest @ rest / count if centred else 0)) / variance)
