"""How often features are not 0, and the distribution of that over features."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.activations.rows import DenseRows
from falcon_dvc.evaluation import frequency
from falcon_dvc.evaluation.frequency import BIN, distribution, frequencies

SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.integers(1, 50))
def test_frequencies_are_shares_of_the_images_that_count(seed, at_once):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(40, 3)) * (rng.random((40, 3)) < [0, 0.1, 0.9])
    rows = np.flatnonzero(rng.random(40) < 0.5)
    before, frequency.IMAGES_AT_ONCE = frequency.IMAGES_AT_ONCE, at_once
    found = frequencies(DenseRows(values), rows)
    frequency.IMAGES_AT_ONCE = before
    assert np.allclose(found, (values[rows] != 0).sum(axis=0) / max(len(rows), 1)) and found[0] == 0


@given(SEEDS, st.integers(1, 5000))
def test_every_feature_that_fires_is_in_its_bin(seed, images):
    shares = np.random.default_rng(seed).integers(0, images + 1, 30) / images
    edges, counts = distribution(shares, images)
    assert np.allclose(np.diff(edges), BIN) and edges[-1] == 0 and edges[0] <= np.log10(1 / images)
    assert counts.sum() == (shares > 0).sum() and counts[-1] >= (shares > 10**-BIN + 1e-6).sum()
