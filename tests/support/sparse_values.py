"""Random arrays that are 0 almost everywhere, dense and as compressed rows."""

import numpy as np
from scipy import sparse

from falcon_dvc.activations.sparse_maps import SparseMaps

IMAGES, FEATURES, GRID = 9, 7, (2, 3)


def rows_of(seed, shape=(IMAGES, FEATURES), share=0.3):
    """A float32 matrix with values of both signs, exact in half precision; some columns are 0."""
    generator = np.random.default_rng(seed)
    values = generator.integers(-4, 9, shape) / np.float32(4)
    return np.where(generator.random(shape) < share, values, 0).astype(np.float32)


def maps_of(seed, share=0.3):
    """Dense maps, and the same as `SparseMaps`."""
    dense = rows_of(seed, (IMAGES, FEATURES, *GRID), share)
    return dense, SparseMaps(sparse.csr_array(dense.reshape(IMAGES, -1)), FEATURES, GRID)
