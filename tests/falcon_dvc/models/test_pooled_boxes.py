"""Pooling a map over a box: the whole field is the mean, a cell is the cell, and areas add up."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.models.pooled_boxes import box_weights, pooled

SIDES = st.integers(1, 6)


def maps_of(seed, rows, columns):
    return np.random.default_rng(seed).normal(size=(3, rows, columns))


@given(st.integers(0, 999), SIDES, SIDES)
def test_the_whole_field_is_the_mean_and_a_larger_box_too(seed, rows, columns):
    maps, field = maps_of(seed, rows, columns), (10, 20, 70, 110)
    boxes = np.array([[10, 20, 70, 110], [0, 0, 500, 400]])
    np.testing.assert_allclose(pooled(maps, box_weights(boxes, field, rows, columns)), [maps.mean(axis=(1, 2))] * 2)


@given(st.integers(0, 999), SIDES, SIDES)
def test_a_box_of_one_cell_is_this_cell(seed, rows, columns):
    maps, field = maps_of(seed, rows, columns), (0, 0, 10 * columns, 7 * rows)
    cells = np.array([[10 * x, 7 * y, 10 * x + 10, 7 * y + 7] for y in range(rows) for x in range(columns)])
    found = pooled(maps, box_weights(cells, field, rows, columns))
    np.testing.assert_allclose(found, maps.reshape(3, -1).T, atol=1e-9)


@given(st.integers(0, 999), st.integers(1, 59), SIDES)
def test_two_parts_of_a_box_make_the_box_by_their_areas(seed, cut, rows):
    maps, field = maps_of(seed, rows, 4), (0, 0, 80, 60)
    whole, first, second = (
        pooled(maps, box_weights(np.array([box]), field, rows, 4))[0]
        for box in ([10, 5, 70, 55], [10, 5, 10 + cut, 55], [10 + cut, 5, 70, 55])
    )
    np.testing.assert_allclose((cut * first + (60 - cut) * second) / 60, whole, atol=1e-9)


def test_a_box_outside_the_field_has_the_nearest_cells():
    maps = maps_of(0, 2, 3)
    boxes = np.array([[0, 0, 5, 5], [300, 0, 400, 5], [0, 300, 5, 400], [35, 5, 45, 8]])
    found = pooled(maps, box_weights(boxes, (10, 10, 70, 50), 2, 3))
    np.testing.assert_allclose(found, [maps[:, 0, 0], maps[:, 0, 2], maps[:, 1, 0], maps[:, 0, 1]], atol=1e-9)
