"""Matrices that properties are tried on: ties, both zeros, constant columns, huge and tiny columns, all widths of a float."""

import numpy as np
from hypothesis import strategies as st

SCALES = (1.0, -1.0, 0.0, 2.0**-80, 2.0**80)  # a negative one makes -0.0 of a zero
WIDTHS = (np.float32, np.float64)


@st.composite
def matrices(draw, rows=(1, 12), columns=(1, 5), values=(-3, 3), scales=SCALES, widths=WIDTHS):
    """Small whole numbers, so that ties are common, times a scale for each column; within float16 where the scales are."""
    shape = draw(st.integers(*rows)), draw(st.integers(*columns))
    whole = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).integers(*values, shape, endpoint=True)
    scale = draw(st.lists(st.sampled_from(scales), min_size=shape[1], max_size=shape[1]))
    return (whole * np.array(scale)).astype(draw(st.sampled_from(widths)))


def unit_rows(rng: np.random.Generator, rows: int, dim: int = 16) -> np.ndarray:
    values = rng.normal(size=(rows, dim))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
