"""Windows in the corners of images: inside, of one size, and over the whole image from a half on."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.crops.windows import WINDOWS, beside, corner_windows

SIDES = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=5)


@given(SIDES, st.floats(0.01, 1.0))
def test_windows_lie_in_their_image_and_have_one_size(sides, side):
    width, height = np.array(sides).T
    left, top, right, bottom = corner_windows(width, height, side).reshape(len(sides), WINDOWS, 4).transpose(2, 0, 1)
    assert (left >= 0).all() and (top >= 0).all()
    assert (right <= width[:, None]).all() and (bottom <= height[:, None]).all()
    assert (right - left >= 1).all() and (np.ptp(right - left, axis=1) == 0).all()
    assert (np.abs((right - left)[:, 0] - np.maximum(1, side * width)) <= 0.5).all()


@given(SIDES, st.floats(0.5, 1.0))
def test_windows_of_more_than_half_the_side_cover_the_image(sides, side):
    for width, height in sides:
        covered = np.zeros((height, width), dtype=bool)
        for left, top, right, bottom in corner_windows(np.array([width]), np.array([height]), side):
            covered[top:bottom, left:right] = True
        # An odd side may be rounded down to less than a half.
        assert covered.all() or round(side * width) * 2 < width or round(side * height) * 2 < height


def test_a_row_holds_what_was_found_in_the_image_and_then_in_its_windows():
    found = beside(np.array([[1, 2], [3, 4]]), np.arange(10, 26).reshape(8, 2))
    assert found.tolist() == [[1, 2, *range(10, 18)], [3, 4, *range(18, 26)]]
    assert beside(np.array([[1], [2]]), np.zeros((0, 1))).tolist() == [[1], [2]]
