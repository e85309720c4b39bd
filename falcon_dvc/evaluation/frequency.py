"""Count on which share of the images a feature is not 0, and how these shares are distributed over features."""

import numpy as np
from jaxtyping import Float, Int

from falcon_dvc.activations.rows import Rows

IMAGES_AT_ONCE = 1024  # images in memory
BIN = 0.25  # width of a bin, in powers of ten


def frequencies(activations: Rows, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " features"]:
    """Compute the share of the images in `rows` on which each feature is not 0; 0 without images.

    Parameters
    ----------
    activations : (images, features), of which a block of images is read at a time.
    """
    count = np.zeros(activations.shape[1])
    for start in range(0, len(rows), IMAGES_AT_ONCE):
        count += np.count_nonzero(activations.rows(rows[start : start + IMAGES_AT_ONCE]), axis=0)
    return count / max(len(rows), 1)


def distribution(
    frequency: Float[np.ndarray, " features"], images: int
) -> tuple[Float[np.ndarray, " edges"], Int[np.ndarray, " bins"]]:
    """Count features by the logarithm of their frequency; those that are 0 on all images have none.

    Parameters
    ----------
    images : number of images, whose inverse is the smallest frequency.

    Returns
    -------
    edges, counts
        Edges of the bins (log10, multiples of `BIN`, ascending to 0), and features in each bin.
    """
    bins = max(int(np.ceil(np.log10(max(images, 2)) / BIN)), 1)
    edges = BIN * np.arange(-bins, 1)
    logarithm = np.log10(frequency[frequency > 0])
    counts, _ = np.histogram(np.clip(np.round(logarithm, 9), edges[0], 0), bins=edges)
    return edges, counts
