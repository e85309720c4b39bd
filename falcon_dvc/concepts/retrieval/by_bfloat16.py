"""Find captions that may be among the nearest by products in bfloat16, where the processor has instructions for them.

The products are several times as fast as in single precision. Their error is bounded, and every pair that the bound leaves
open is returned. So the nearest captions, which are then found in double precision, are the same.
"""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float, Float32, Int

FROM = 2**32  # multiplications from which it pays to load torch: some hundredths of a second in single precision
OPEN = 256  # if more than one pair in so many is left open, it takes less time to multiply all in single precision
HALF_STEP = 2.0**-8  # the largest relative error of a number that is rounded to bfloat16, which has eight bits


def longest(rows: Float32[np.ndarray, "rows dim"]) -> float:
    """Compute the largest length of a row."""
    return float(np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float32).max(initial=0)))


def candidates(
    crops: Float32[np.ndarray, "crops dim"],
    texts: Float32[np.ndarray, "captions dim"],
    best: Float[np.ndarray, " crops"],
    k: int,
    few: int,
    tolerance: float,
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]] | None:
    """Find pairs of a crop and a caption that may be among the k nearest of the crop; None if too many may.

    Rounding to bfloat16 keeps the order of numbers. So a product of at least a limit is, rounded, at least the rounded limit.

    Parameters
    ----------
    best : k-th best cosine of each crop so far, -inf if there is none.
    few : if there are more than `few` times k pairs a crop, the k best of these captions exclude most of them.
    tolerance : by how much two cosines may differ that count as equal.
    """
    import torch

    margin = tolerance + largest_error(longest(crops), longest(texts), crops.shape[1])
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "The given NumPy array is not writable"
        )  # embeddings in a file; only read here
        halves = [torch.from_numpy(rows).bfloat16() for rows in (crops, texts)]
    rough = halves[0] @ halves[1].T
    cut = torch.from_numpy(best - margin).bfloat16()
    rows = (rough.amax(dim=1) >= cut).nonzero()[:, 0]
    rough, cut = rough[rows], cut[rows]
    near = rough >= cut[:, None]
    if len(texts) > k and int(near.count_nonzero()) > few * k * len(rows):
        kth = rough.topk(k, dim=1).values[:, -1].double()
        cut = torch.maximum(cut, (kth - kth.abs() * HALF_STEP - 2 * margin).bfloat16())
        near = rough >= cut[:, None]
    if int(near.count_nonzero()) > max(few * k, len(texts) // OPEN) * len(crops):
        return None
    row, text = np.divmod(np.flatnonzero(near.numpy()), len(texts))
    return rows.numpy()[row], text


def largest_error(one: float, other: float, dim: int) -> float:
    """Bound the error of the products of rows of at most these lengths, before the products are rounded themselves.

    ``|a b - a' b'| <= |a - a'| |b| + |a'| |b - b'|``, and the error of a sum in single precision.
    """
    of_rows = HALF_STEP * (2 + HALF_STEP)
    of_sum = 2 * (dim + 2) * float(np.finfo(np.float32).eps) * (1 + HALF_STEP) ** 2
    return (of_rows + of_sum) * one * other
